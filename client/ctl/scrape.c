/* scrape.c: a page over HTTP/1.0, cut into samples. */
#include "client/ctl/scrape.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/c/internal.h"
#include "client/ctl/ctl.h"

#define PAGE_BYTES_MAX (16u << 20)
#define BUCKETS_MAX 512

/* ---- HTTP ---- */

static int fail_io(const char *address, dreamd_error *err)
{
    return dreamd__fail(err, DREAMD_UNAVAILABLE, "http://%s/metrics: %s", address, strerror(errno));
}

static int send_request(int fd, const char *address, uint64_t deadline_ms, dreamd_error *err)
{
    char request[400];
    int length =
        snprintf(request, sizeof request, "GET /metrics HTTP/1.0\r\nHost: %.255s\r\n\r\n", address);
    for (int sent = 0; sent < length;) {
        ssize_t n = send(fd, request + sent, (size_t)(length - sent), MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return fail_io(address, err);
        }
        int code = n < 0 ? dreamd__socket_wait(fd, true, deadline_ms, &ctl_cancelled, err) : 0;
        if (code != DREAMD_OK) {
            return code;
        }
        sent += n > 0 ? (int)n : 0;
    }
    return DREAMD_OK;
}

/* Everything until the daemon closes. */
static int receive(dreamd__bytes *page, int fd, const char *address, uint64_t deadline_ms,
                   dreamd_error *err)
{
    char piece[16384];
    for (;;) {
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n == 0) {
            return DREAMD_OK;
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return fail_io(address, err);
        }
        if (n > 0 && (page->length + (size_t)n > PAGE_BYTES_MAX ||
                      !dreamd__bytes_add(page, piece, (size_t)n))) {
            return dreamd__fail(err, DREAMD_RESOURCE_EXHAUSTED, "http://%s/metrics is too long",
                                address);
        }
        int code = n < 0 ? dreamd__socket_wait(fd, false, deadline_ms, &ctl_cancelled, err) : 0;
        if (code != DREAMD_OK) {
            return code;
        }
    }
}

static int fetch(dreamd__bytes *page, const char *address, double timeout_s, dreamd_error *err)
{
    uint64_t deadline_ms = dreamd__now_ms() + (uint64_t)(timeout_s * 1000);
    int fd = dreamd__socket_connect(address, deadline_ms, &ctl_cancelled, err);
    if (fd < 0) {
        return err->code;
    }
    int code = send_request(fd, address, deadline_ms, err);
    if (code == DREAMD_OK) {
        code = receive(page, fd, address, deadline_ms, err);
    }
    close(fd);
    return code;
}

/* ---- samples ---- */

/* Cuts one line, "name{labels} value" or "name value"; false for what is no sample. */
static bool cut_line(ctl_sample *out, char *line)
{
    char *end = line + strcspn(line, "{ ");
    if (line[0] == '#' || end == line || !*end) {
        return false;
    }
    out->name = line;
    out->labels = "";
    char *value = end + 1;
    if (*end == '{') {
        out->labels = end + 1;
        bool quoted = false;
        while (*value && (quoted || *value != '}')) {
            quoted ^= *value == '"';
            value += *value == '\\' && value[1] ? 2 : 1;
        }
        if (*value != '}' || value[1] != ' ') {
            return false;
        }
        *value = '\0';
        value += 2;
    }
    *end = '\0';
    out->value = strtod(value, &end);
    return end != value;
}

static int cut_page(ctl_scrape *out, const char *address, dreamd_error *err)
{
    char *body = strstr(out->text, "\r\n\r\n");
    if (strncmp(out->text, "HTTP/1.", 7) != 0 || !out->text[7] ||
        strncmp(out->text + 8, " 200 ", 5) != 0 || !body) {
        return dreamd__fail(err, DREAMD_UNAVAILABLE,
                            "http://%s/metrics gave no page of metrics: is it dreamd's HTTP port?",
                            address);
    }
    size_t lines = 0;
    for (const char *c = body; *c; c++) {
        lines += *c == '\n';
    }
    out->samples = calloc(lines + 1, sizeof *out->samples);
    if (!out->samples) {
        return dreamd__fail(err, DREAMD_RESOURCE_EXHAUSTED, "out of memory");
    }
    for (char *line = strtok(body, "\r\n"); line; line = strtok(NULL, "\r\n")) {
        out->count += cut_line(&out->samples[out->count], line);
    }
    return DREAMD_OK;
}

int ctl_scrape_get(ctl_scrape *out, const char *address, double timeout_s, dreamd_error *err)
{
    *out = (ctl_scrape){0};
    dreamd__bytes page = {0};
    int code = fetch(&page, address, timeout_s, err);
    if (code == DREAMD_OK && !dreamd__bytes_add(&page, "", 1)) {
        code = dreamd__fail(err, DREAMD_RESOURCE_EXHAUSTED, "out of memory");
    }
    if (code != DREAMD_OK) {
        dreamd__bytes_free(&page);
        return code;
    }
    out->text = (char *)page.bytes;
    out->at_s = (double)dreamd__now_ms() / 1000;
    code = cut_page(out, address, err);
    if (code != DREAMD_OK) {
        ctl_scrape_free(out);
    }
    return code;
}

void ctl_scrape_free(ctl_scrape *scrape)
{
    free(scrape->text);
    free(scrape->samples);
    *scrape = (ctl_scrape){0};
}

/* ---- questions ---- */

bool ctl_sample_label(char *out, size_t bytes, const ctl_sample *sample, const char *label)
{
    const char *at = sample->labels;
    size_t label_length = strlen(label);
    while (*at) {
        const char *equals = strchr(at, '=');
        if (!equals || equals[1] != '"') {
            return false;
        }
        bool found = (size_t)(equals - at) == label_length && !strncmp(at, label, label_length);
        size_t length = 0;
        for (at = equals + 2; *at && *at != '"'; at++) {
            at += *at == '\\' && at[1];
            if (length + 1 < bytes) {
                out[length++] = *at;
            }
        }
        if (found) {
            out[length] = '\0';
            return true;
        }
        at += *at == '"';
        at += *at == ',';
    }
    return false;
}

static bool is_of(const ctl_sample *sample, const char *label, const char *value)
{
    char found[256];
    return !label ||
           (ctl_sample_label(found, sizeof found, sample, label) && !strcmp(found, value));
}

double ctl_scrape_sum(const ctl_scrape *scrape, const char *name, const char *label,
                      const char *value)
{
    double sum = 0;
    for (size_t i = 0; i < scrape->count; i++) {
        const ctl_sample *s = &scrape->samples[i];
        sum += strcmp(s->name, name) == 0 && is_of(s, label, value) ? s->value : 0;
    }
    return sum;
}

double ctl_scrape_rate(const ctl_scrape *before, const ctl_scrape *now, const char *name,
                       const char *label, const char *value)
{
    double grown =
        ctl_scrape_sum(now, name, label, value) - ctl_scrape_sum(before, name, label, value);
    double seconds = now->at_s - before->at_s;
    return seconds > 0 && grown > 0 ? grown / seconds : 0;
}

typedef struct {
    double bound, count; /* of all at most `bound` */
} bucket;

/* In the order of the page, which is that of the bounds; counts are added up over all labels. */
static size_t read_buckets(bucket *out, const ctl_scrape *scrape, const char *name,
                           const char *label, const char *value)
{
    size_t count = 0, length = strlen(name);
    for (size_t i = 0; i < scrape->count; i++) {
        const ctl_sample *s = &scrape->samples[i];
        char le[40];
        if (strncmp(s->name, name, length) != 0 || strcmp(s->name + length, "_bucket") != 0 ||
            !is_of(s, label, value) || !ctl_sample_label(le, sizeof le, s, "le")) {
            continue;
        }
        double bound = strtod(le, NULL);
        size_t b = 0;
        while (b < count && out[b].bound < bound) {
            b++;
        }
        if (b == count) {
            if (count == BUCKETS_MAX) {
                return count;
            }
            out[count++] = (bucket){bound, 0};
        }
        out[b].count += s->value;
    }
    return count;
}

double ctl_scrape_quantile(const ctl_scrape *before, const ctl_scrape *now, const char *histogram,
                           const char *label, const char *value, double q)
{
    bucket old[BUCKETS_MAX], new[BUCKETS_MAX];
    size_t old_count = read_buckets(old, before, histogram, label, value);
    size_t count = read_buckets(new, now, histogram, label, value);
    for (size_t b = 0; b < count && old_count == count; b++) {
        new[b].count -= old[b].count;
    }
    if (count == 0 || new[count - 1].count <= 0) {
        return (double)NAN;
    }
    double wanted = q * new[count - 1].count;
    size_t b = 0;
    while (b < count - 1 && new[b].count < wanted) {
        b++;
    }
    double first = b ? new[b - 1].bound : 0, below = b ? new[b - 1].count : 0;
    if (b == count - 1 || new[b].count <= below) {
        return b == count - 1 ? first : new[b].bound;
    }
    return first + (new[b].bound - first) * (wanted - below) / (new[b].count - below);
}
