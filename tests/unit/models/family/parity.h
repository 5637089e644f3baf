/* parity.h: golden files compared; each returns how many tensors agreed and aborts the test where
 * one does not. What is not at hand is added to `skipped`. */
#ifndef DR_TESTS_FAMILY_PARITY_H
#define DR_TESTS_FAMILY_PARITY_H

/* The published CarRacing model over 64 closed-loop steps, from float64. */
int parity_world_models_fixture(int *skipped);
/* tests/golden/world_models: VAE, mixtures and all controllers, CarRacing's and Doom's dream, at the
 * mode and with the noise of the files. */
int parity_world_models_goldens(void);

#endif
