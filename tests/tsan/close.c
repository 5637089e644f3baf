/* close.c: shows ThreadSanitizer what libuv closes, for SANITIZER=thread.
 *
 * libuv closes by syscall(SYS_close, fd), which ThreadSanitizer does not watch: a number that
 * another thread is given again looks to it like the old socket, touched by two threads. The
 * program's own syscall() comes before libc's, also for the shared libuv, and closes by close().
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef long (*system_call)(long number, ...);

long syscall(long number, ...)
{
    static _Atomic(system_call) next;
    long arguments[6];
    va_list list;
    va_start(list, number);
    /* As many as a system call can have; like libc's own, what was not given as it is found. */
    for (int i = 0; i < 6; i++) {
        arguments[i] = va_arg(list, long);
    }
    va_end(list);
    if (number == SYS_close) {
        return close((int)arguments[0]);
    }
    if (!next) {
        next = (system_call)dlsym(RTLD_NEXT, "syscall");
    }
    return next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                arguments[5]);
}
