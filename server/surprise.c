/* surprise.c: floats into histograms of whole numbers. */
#include "server/surprise.h"

const char *dr_surprise_name(dr_surprise_kind kind)
{
    return kind == DR_SURPRISE_KL ? "surprise.kl" : "surprise.error";
}

/* What is less than nothing, by rounding, is nothing; what is no number is beyond all. */
static uint64_t whole(float value)
{
    const double most = (double)(1ull << DR_HISTOGRAM_BITS);
    double scaled = (double)value * DR_SURPRISE_SCALE;
    if (!(scaled < most)) {
        return 1ull << DR_HISTOGRAM_BITS;
    }
    return scaled > 0 ? (uint64_t)scaled : 0;
}

void dr_surprise_record(dr_surprise *surprise, int output, const float *values, uint32_t count)
{
    for (int kind = 0; kind < DR_SURPRISE_COUNT; kind++) {
        for (uint32_t i = 0; surprise->output[kind] == output && i < count; i++) {
            dr_histogram_record(&surprise->values[kind], whole(values[i]));
        }
    }
}
