/* Families, labels and histograms as Prometheus reads them, and what does not fit. */
#include "server/exposition.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

static dr_buf page;
static dr_exposition e;

static void begin(size_t most)
{
    dr_buf_init(&page, most);
    dr_exposition_init(&e, &page);
}

static const char *text(void)
{
    cr_assert(eq(int, dr_buf_append(&page, "", 1, NULL), DR_OK));
    page.length--;
    return (const char *)page.bytes;
}

static void end(void)
{
    dr_buf_deinit(&page);
}

Test(exposition, a_family_has_help_type_and_samples)
{
    begin(4096);
    dr_exposition_family(&e, "dreamd_x_total", DR_COUNTER, "What x is.");
    dr_exposition_count(&e, UINT64_MAX, NULL);
    dr_exposition_count(&e, 3, "a", "1", "b", "two", NULL);
    dr_exposition_family(&e, "dreamd_y", DR_GAUGE, "What y is.");
    dr_exposition_number(&e, 0.25, NULL);
    cr_expect(eq(int, dr_exposition_end(&e), DR_OK));
    cr_expect(eq(str, (char *)text(),
                 "# HELP dreamd_x_total What x is.\n"
                 "# TYPE dreamd_x_total counter\n"
                 "dreamd_x_total 18446744073709551615\n"
                 "dreamd_x_total{a=\"1\",b=\"two\"} 3\n"
                 "# HELP dreamd_y What y is.\n"
                 "# TYPE dreamd_y gauge\n"
                 "dreamd_y 0.25\n"));
    end();
}

Test(exposition, label_values_are_escaped)
{
    begin(4096);
    dr_exposition_family(&e, "x", DR_GAUGE, "X.");
    page.length = 0;
    dr_exposition_count(&e, 1, "a", "back\\slash \"quoted\"\nline", NULL);
    cr_expect(eq(str, (char *)text(), "x{a=\"back\\\\slash \\\"quoted\\\"\\nline\"} 1\n"));
    page.length = 0;
    dr_exposition_count(&e, 1, "a", "Gr\xc3\xbc\xc3\x9f", "b", "bad\xff\xfe", NULL);
    cr_expect(eq(str, (char *)text(), "x{a=\"Gr\xc3\xbc\xc3\x9f\",b=\"bad??\"} 1\n"));
    end();
}

Test(exposition, numbers_that_are_not_finite_have_their_words)
{
    begin(4096);
    dr_exposition_family(&e, "x", DR_GAUGE, "X.");
    page.length = 0;
    dr_exposition_number(&e, (double)NAN, NULL);
    dr_exposition_number(&e, (double)INFINITY, NULL);
    dr_exposition_number(&e, -(double)INFINITY, NULL);
    cr_expect(eq(str, (char *)text(), "x NaN\nx +Inf\nx -Inf\n"));
    end();
}

static dr_histogram histogram;

Test(exposition, a_histogram_counts_what_is_at_most_each_bound)
{
    static const dr_exposition_buckets buckets = {.least = 4, .most = 16, .unit = 1};
    const uint64_t values[] = {0, 4, 5, 11, 12, 15, 16, 1000};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        dr_histogram_record(&histogram, values[i]);
    }
    begin(4096);
    dr_exposition_family(&e, "rows", DR_HISTOGRAM, "Rows.");
    page.length = 0;
    dr_exposition_histogram(&e, &histogram, &buckets, "class", "plan", NULL);
    cr_expect(eq(str, (char *)text(),
                 "rows_bucket{class=\"plan\",le=\"4\"} 2\n"
                 "rows_bucket{class=\"plan\",le=\"5\"} 3\n"
                 "rows_bucket{class=\"plan\",le=\"6\"} 3\n"
                 "rows_bucket{class=\"plan\",le=\"7\"} 3\n"
                 "rows_bucket{class=\"plan\",le=\"11\"} 4\n"
                 "rows_bucket{class=\"plan\",le=\"15\"} 6\n"
                 "rows_bucket{class=\"plan\",le=\"+Inf\"} 8\n"
                 "rows_sum{class=\"plan\"} 1063\n"
                 "rows_count{class=\"plan\"} 8\n"));
    end();
}

Test(exposition, a_histogram_of_nanoseconds_is_shown_in_seconds)
{
    static const dr_exposition_buckets buckets = {.least = 1 << 30, .most = 1u << 31, .unit = 1e-9};
    dr_histogram_record(&histogram, 1500000000);
    begin(4096);
    dr_exposition_family(&e, "s", DR_HISTOGRAM, "S.");
    page.length = 0;
    dr_exposition_histogram(&e, &histogram, &buckets, NULL);
    cr_expect(eq(str, (char *)text(),
                 "s_bucket{le=\"1.610612735\"} 1\n"
                 "s_bucket{le=\"2.147483647\"} 1\n"
                 "s_bucket{le=\"+Inf\"} 1\n"
                 "s_sum 1.5\n"
                 "s_count 1\n"));
    end();
}

Test(exposition, a_page_that_does_not_fit_fails_as_a_whole)
{
    begin(64);
    dr_exposition_family(&e, "dreamd_x_total", DR_COUNTER, "What x is.");
    for (int i = 0; i < 10; i++) {
        dr_exposition_count(&e, 1, NULL);
    }
    cr_expect(eq(int, dr_exposition_end(&e), DR_RESOURCE_EXHAUSTED));
    cr_expect(le(sz, page.length, (size_t)64));
    end();
}
