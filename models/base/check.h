/* check.h: assertions, for our own bugs only, active in every build.
 *
 * A user's mistake is a dr_code with a message (error.h); the world's failure is
 * a dr_code, a message and a log line. What can only be wrong if this program is
 * wrong stops the program here, with the place and the condition.
 */
#ifndef DR_BASE_CHECK_H
#define DR_BASE_CHECK_H
#include <stdio.h>
#include <stdlib.h>

#define DR_ASSERT(condition)                                                                 \
    do {                                                                                     \
        if (__builtin_expect(!(condition), 0)) {                                             \
            fprintf(stderr, "%s:%d: %s: this must hold: %s\n", __FILE__, __LINE__, __func__, \
                    #condition);                                                             \
            abort();                                                                         \
        }                                                                                    \
    } while (0)

/* A place that is not reached. */
#define DR_NEVER(why)                                                                   \
    do {                                                                                \
        fprintf(stderr, "%s:%d: %s: never: %s\n", __FILE__, __LINE__, __func__, (why)); \
        abort();                                                                        \
    } while (0)

#define DR_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
