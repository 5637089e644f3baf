/* scrape.h: the daemon's /metrics page, read back: samples by name and label. */
#ifndef DREAMD_CTL_SCRAPE_H
#define DREAMD_CTL_SCRAPE_H
#include <jansson.h>

#include "client/c/dreamd.h"

typedef struct {
    const char *name, *labels; /* labels as written, without braces: method="x",code="OK" */
    double value;
} ctl_sample;

typedef struct {
    char *text; /* the page, cut into the strings of the samples */
    ctl_sample *samples;
    size_t count;
    double at_s; /* when it came; a monotonic clock */
} ctl_scrape;

/* Gets http://ADDRESS/metrics; a status code, as of the C library. Free what was got. */
int ctl_scrape_get(ctl_scrape *out, const char *address, double timeout_s, dreamd_error *err);
void ctl_scrape_free(ctl_scrape *scrape);

/* Writes the value of a label, unescaped; false where the sample has no such label. */
bool ctl_sample_label(char *out, size_t bytes, const ctl_sample *sample, const char *label);
/* The sum of the samples of that name whose `label` is `value`; label NULL: of all of the name. */
double ctl_scrape_sum(const ctl_scrape *scrape, const char *name, const char *label,
                      const char *value);
/* Between two scrapes: what a counter has grown by a second. */
double ctl_scrape_rate(const ctl_scrape *before, const ctl_scrape *now, const char *name,
                       const char *label, const char *value);
/* A quantile of what a histogram has recorded between two scrapes, within its bucket by proportion;
 * NAN where nothing was. */
double ctl_scrape_quantile(const ctl_scrape *before, const ctl_scrape *now, const char *histogram,
                           const char *label, const char *value, double q);

/* top_figures.c: what dreamctl top shows, under the names that --json has. */
json_t *ctl_top_describe(const ctl_scrape *before, const ctl_scrape *now);

#endif
