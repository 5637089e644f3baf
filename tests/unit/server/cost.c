/* cost.c: what is learned from batches of a machine whose costs are known. */
#include "server/cost.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

/* Runs batches of the sizes that the estimate asks for, on a machine with known costs. */
static uint32_t settle(dr_cost *c, double fixed, double row, uint64_t quantum, uint32_t most)
{
    uint32_t rows = 0;
    for (int i = 0; i < 200; i++) {
        rows = dr_cost_rows(c, quantum, most);
        dr_cost_learn(c, rows, (uint64_t)(fixed + row * rows));
    }
    return rows;
}

Test(cost, rows_fill_a_quantum_whatever_was_guessed)
{
    static const double guesses[] = {0, 10, 1e4, 1e6, 1e9};
    for (int i = 0; i < 5; i++) {
        dr_cost c;
        dr_cost_seed(&c, guesses[i]);
        uint32_t rows = settle(&c, 0, 10000, 250000, 256);
        cr_expect(ge(u32, rows, 24), "guess %d", i);
        cr_expect(le(u32, rows, 25), "guess %d", i);
    }
}

Test(cost, a_row_longer_than_a_quantum_goes_alone)
{
    dr_cost c;
    dr_cost_seed(&c, 1e6);
    settle(&c, 0, 1e6, 250000, 256);
    int alone = 0;
    for (int i = 0; i < 100; i++) {
        uint32_t rows = dr_cost_rows(&c, 250000, 256);
        cr_assert(le(u32, rows, 2), "now and then a second one tells whether much is fixed");
        alone += rows == 1;
        dr_cost_learn(&c, rows, 1000000 * rows);
    }
    cr_expect(gt(int, alone, 80));
}

Test(cost, cheap_rows_are_limited_by_the_batch_alone)
{
    dr_cost c;
    dr_cost_seed(&c, 1000);
    cr_expect(eq(u32, settle(&c, 2000, 100, 250000, 256), 256));
}

Test(cost, batches_are_not_cut_into_repetitions_of_what_is_fixed)
{
    dr_cost c;
    dr_cost_seed(&c, 30e6);
    /* 6 ms to read the weights, 0.5 ms a row: 24 ms a batch, not 13 times 6.5. */
    uint32_t rows = settle(&c, 6e6, 5e5, 250000, 256);
    cr_expect(ge(u32, rows, 30));
    cr_expect(le(u32, rows, 40));
}

Test(cost, single_rows_and_large_batches_tell_the_two_parts_apart)
{
    dr_cost c;
    dr_cost_seed(&c, 0);
    for (int i = 0; i < 100; i++) {
        uint32_t rows = i % 2 ? 1 : 33;
        dr_cost_learn(&c, rows, 6000 + 7000 * rows);
    }
    cr_expect(epsilon_eq(dbl, c.fixed_ns, 6000, 100));
    cr_expect(epsilon_eq(dbl, c.row_ns, 7000, 100));
    cr_expect(epsilon_eq(dbl, (double)dr_cost_of(&c, 10), 76000, 1000));
}

Test(cost, an_interrupted_batch_counts_four_times_at_most)
{
    dr_cost c;
    dr_cost_seed(&c, 0);
    settle(&c, 0, 10000, 250000, 256);
    dr_cost_learn(&c, 25, 1000000000);
    cr_expect(le(dbl, c.row_ns, 14000));
    cr_expect(ge(u32, settle(&c, 0, 10000, 250000, 256), 24));
}

Test(cost, a_machine_that_became_slower_is_learned)
{
    dr_cost c;
    dr_cost_seed(&c, 0);
    settle(&c, 0, 1000, 250000, 256);
    cr_expect(le(u32, settle(&c, 0, 50000, 250000, 256), 5));
}

Test(cost, a_wrong_fixed_part_is_forgotten_though_all_batches_are_alike)
{
    dr_cost c;
    dr_cost_seed(&c, 0);
    for (int i = 0; i < 20; i++) { /* while something else disturbed: 250 us and 5 a row */
        uint32_t rows = i % 2 ? 10 : 100;
        dr_cost_learn(&c, rows, 250000 + 5000 * rows);
    }
    cr_assert(gt(u32, dr_cost_rows(&c, 250000, 256), 100));
    cr_expect(le(u32, settle(&c, 5000, 6500, 250000, 256), 45));
    cr_expect(ge(u32, settle(&c, 5000, 6500, 250000, 256), 30));
}

Test(cost, cold_batches_are_no_evidence)
{
    dr_cost c;
    dr_cost_seed(&c, 0);
    dr_cost_learn(&c, 12, 5000000);
    dr_cost_learn(&c, 1, 900000);
    dr_cost_learn(&c, 1, 7000);
    cr_expect(le(u32, settle(&c, 0, 7000, 250000, 256), 36));
}
