/* cost.c: sums that fade, and the two unknowns that fit them. */
#include "server/cost.h"

#include <stdbool.h>

static const double FADE = 31.0 / 32;      /* what a batch counts after the next one */
static const double FLOPS_PER_NS = 20;     /* a modest core */
static const double UNKNOWN_ROW_NS = 20e3; /* nothing known */
static const double SPREAD = 0.1;          /* sizes differ enough to tell the two parts apart */
static const double FAR = 4;               /* times the estimate */
static const double FIXED_SHARE = 4;       /* a batch is at least so many fixed parts long */
static const double FORGET = 0.98;         /* of a fixed part that nothing shows */
/* Of more rows than FEW in a quantum the fixed part is no large share. */
enum { COLD = 2, FEW_ROWS = 4 };

void dr_cost_seed(dr_cost *cost, double flops)
{
    *cost = (dr_cost){.row_ns = flops > 0 ? flops / FLOPS_PER_NS + 100 : UNKNOWN_ROW_NS};
}

/* 0 where all batches had the same size, up to 1. */
static double spread_of(const dr_cost *c)
{
    double product = c->inverse * c->rows;
    return product > 0 ? 1 - c->count * c->count / product : 0;
}

static void fit(dr_cost *c)
{
    double spread = spread_of(c);
    if (spread > SPREAD) {
        double det = c->inverse * c->rows * spread;
        double fixed = (c->rows * c->ns_a_row - c->count * c->ns) / det;
        double least = c->ns / c->count;
        c->fixed_ns = fixed < 0 ? 0 : fixed > least ? least : fixed;
    } else {
        c->fixed_ns *= FORGET;
    }
    double row = (c->ns - c->fixed_ns * c->count) / c->rows;
    double least = c->ns / c->rows / 64; /* noise never makes rows free */
    c->row_ns = row > least ? row : least;
}

void dr_cost_learn(dr_cost *c, uint32_t rows, uint64_t ns)
{
    double took = (double)ns + 1, estimate = c->fixed_ns + c->row_ns * rows;
    bool is_surprise = took > FAR * estimate || took < estimate / FAR;
    c->surprises = is_surprise ? c->surprises + 1 : 0;
    if (c->seen++ < COLD || c->surprises > 1) {
        *c = (dr_cost){.seen = c->seen};
    } else if (is_surprise) {
        took = took > estimate ? FAR * estimate : estimate / FAR;
    }
    c->count = c->count * FADE + 1;
    c->inverse = c->inverse * FADE + 1.0 / rows;
    c->rows = c->rows * FADE + rows;
    c->ns = c->ns * FADE + took;
    c->ns_a_row = c->ns_a_row * FADE + took / rows;
    fit(c);
}

uint64_t dr_cost_of(const dr_cost *c, uint32_t rows)
{
    return (uint64_t)(c->fixed_ns + c->row_ns * rows);
}

uint32_t dr_cost_rows(const dr_cost *c, uint64_t quantum_ns, uint32_t most)
{
    double budget = (double)quantum_ns, least = FIXED_SHARE * c->fixed_ns;
    double rows = ((budget > least ? budget : least) - c->fixed_ns) / c->row_ns;
    double usual = c->count > 0 ? c->rows / c->count : FEW_ROWS;
    if (rows < FEW_ROWS && usual < FEW_ROWS && c->fixed_ns < c->row_ns / 8 &&
        spread_of(c) < SPREAD / 8) {
        rows = usual * 2; /* all were small and alike: one of twice the size tells what is fixed */
    }
    return rows < 1 ? 1 : rows > most ? most : (uint32_t)rows;
}
