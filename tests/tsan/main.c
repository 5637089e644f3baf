/* main.c: runs Criterion tests without Criterion's runner, for SANITIZER=thread.
 *
 * The runner's arena lies where ThreadSanitizer keeps its shadow, so the two do not start
 * together. The test sources stay as they are: this main walks the section in which Criterion
 * registers them and forks once a test; the calls by which a test would speak to the
 * runner end here.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern struct criterion_test *__start_cr_tst[], *__stop_cr_tst[];
/* TestSuite(), where a binary has any. */
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak));
extern struct criterion_suite *__stop_cr_sts[] __attribute__((weak));

enum { EXIT_FAILED = 99 };
static atomic_int failed;
static void *parameter;

void criterion_abort_test(void)
{
    _exit(EXIT_FAILED);
}

void criterion_continue_test(void)
{
    failed = 1;
}

void criterion_test_die(const char *message, ...)
{
    fprintf(stderr, "%s\n", message);
    _exit(EXIT_FAILED);
}

void cri_asserts_passed_incr(void) {}
void criterion_internal_test_setup(void) {}
void criterion_internal_test_teardown(void) {}

void criterion_internal_test_main(void (*function)(void))
{
    if (parameter) {
        ((void (*)(void *))function)(parameter);
    } else {
        function();
    }
}

void criterion_send_assert(struct criterion_assert_stats *stats)
{
    if (!stats->passed) {
        failed = 1;
        fprintf(stderr, "%s:%u: %s\n", stats->file, stats->line,
                stats->message ? stats->message : "assertion failed");
    }
}

void cri_assert_node_send(const char *file, size_t line, struct cri_assert_node *node)
{
    failed = 1;
    fprintf(stderr, "%s:%zu: %s\n", file, line, node->message ? node->message : "assertion failed");
    for (uint32_t i = 0; i < node->nchild; i++) {
        struct cri_assert_node *child = &node->children[i];
        fprintf(stderr, "  %s", child->repr ? child->repr : "?");
        for (size_t k = 0; k < CRI_ASSERT_MAX_PARAMS && child->params[k].data; k++) {
            if (child->params[k].type == CRI_ASSERT_RT_STR) {
                fprintf(stderr, " %s=%s", child->params[k].name, (char *)child->params[k].data);
            }
        }
        fputc('\n', stderr);
    }
}

/* What TestSuite() said for every test of the suite, or NULL. */
static const struct criterion_test_extra_data *find_suite(const char *name)
{
    for (struct criterion_suite **at = __start_cr_sts; at < __stop_cr_sts; at++) {
        if (*at && (*at)->data && strcmp((*at)->name, name) == 0) {
            return (*at)->data;
        }
    }
    return NULL;
}

static int passes(struct criterion_test *test, void *with, size_t index)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct criterion_test_extra_data *data = test->data;
        alarm(data->timeout > 0 ? (unsigned)data->timeout * 10 + 10 : 300);
        const struct criterion_test_extra_data *suite = find_suite(test->category);
        if (suite && suite->init) {
            suite->init();
        }
        if (data->init) {
            data->init();
        }
        parameter = with;
        test->test();
        if (data->fini) {
            data->fini();
        }
        if (suite && suite->fini) {
            suite->fini();
        }
        exit(failed ? EXIT_FAILED : 0);
    }
    int status;
    waitpid(child, &status, 0);
    int ok = WIFEXITED(status) ? WEXITSTATUS(status) == test->data->exit_code
                               : WTERMSIG(status) == test->data->signal;
    if (!ok) {
        printf("not ok - %s::%s[%zu]\n", test->category, test->name, index);
    }
    return ok;
}

int main(void)
{
    int count = 0, failing = 0;
    for (struct criterion_test **at = __start_cr_tst; at < __stop_cr_tst; at++) {
        struct criterion_test *test = *at;
        if (!test || test->data->disabled) {
            continue;
        }
        if (test->data->kind_ != CR_TEST_PARAMETERIZED) {
            count++;
            failing += !passes(test, NULL, 0);
            continue;
        }
        struct criterion_test_params params = test->data->param_();
        for (size_t i = 0; i < params.length; i++) {
            count++;
            failing += !passes(test, (char *)params.params + i * params.size, i);
        }
    }
    printf("tests: %d failing: %d\n", count, failing);
    return failing || !count;
}
