/* socket.c: addresses, connecting and waiting, all against a deadline. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/c/internal.h"

/* A signal may come between the look at the cancel flag and poll(): look again this often. */
#define CANCEL_CHECK_MS 200

uint64_t dreamd__now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int dreamd__address_parse(char host[256], char port[8], const char *address, dreamd_error *err)
{
    const char *colon = strrchr(address, ':');
    const char *first = address, *limit = colon ? colon : address + strlen(address);
    if (address[0] == '[') {
        first = address + 1;
        limit = strchr(address, ']');
        colon = limit && limit[1] == ':' ? limit + 1 : NULL;
        if (!limit || (limit[1] && limit[1] != ':')) {
            goto wrong;
        }
    } else if (colon && strchr(address, ':') != colon) {
        goto wrong; /* an IPv6 address needs brackets */
    }
    size_t length = (size_t)(limit - first);
    if (length >= 256 || (colon && (strlen(colon + 1) > 5 || !colon[1]))) {
        goto wrong;
    }
    long number = 0;
    for (const char *c = colon ? colon + 1 : ""; *c; c++) {
        if (*c < '0' || *c > '9') {
            goto wrong;
        }
        number = number * 10 + (*c - '0');
    }
    if (colon && (number < 1 || number > 65535)) {
        goto wrong;
    }
    memcpy(host, first, length);
    host[length] = '\0';
    snprintf(host + length, 256 - length, "%s", length ? "" : "127.0.0.1");
    snprintf(port, 8, "%s", colon ? colon + 1 : "7733");
    return DREAMD_OK;
wrong:
    return dreamd__fail_field(err, DREAMD_INVALID_ARGUMENT, "address",
                              "address \"%.200s\": expected HOST:PORT, for example 127.0.0.1:7733 "
                              "or [::1]:7733",
                              address);
}

int dreamd__socket_wait(int fd, bool for_write, uint64_t deadline_ms, volatile sig_atomic_t *cancel,
                        dreamd_error *err)
{
    for (;;) {
        uint64_t now = dreamd__now_ms();
        if (cancel && *cancel) {
            return dreamd__fail(err, DREAMD_CANCELLED, "cancelled");
        }
        if (now >= deadline_ms) {
            return dreamd__fail(err, DREAMD_DEADLINE_EXCEEDED, "no answer within the deadline");
        }
        uint64_t left = deadline_ms - now;
        if (cancel && left > CANCEL_CHECK_MS) {
            left = CANCEL_CHECK_MS;
        }
        struct pollfd wait = {.fd = fd, .events = (short)(POLLIN | (for_write ? POLLOUT : 0))};
        int ready = poll(&wait, 1, left > 60000 ? 60000 : (int)left);
        if (ready > 0) {
            return DREAMD_OK;
        }
        if (ready < 0 && errno != EINTR) {
            return dreamd__fail(err, DREAMD_INTERNAL, "poll: %s", strerror(errno));
        }
    }
}

/* One address of a host; errno says why it did not work. */
static int connect_to(const struct addrinfo *to, uint64_t deadline_ms,
                      volatile sig_atomic_t *cancel, dreamd_error *err)
{
    int on = 1, failure = 0;
    socklen_t size = sizeof failure;
    int fd = socket(to->ai_family, to->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, to->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    /* A step is one small message each way: it must not wait for the acknowledgement of another. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0) {
        return fd;
    }
    if (errno == EINPROGRESS) {
        if (dreamd__socket_wait(fd, true, deadline_ms, cancel, err) != DREAMD_OK) {
            errno = ETIMEDOUT;
        } else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 && failure == 0) {
            return fd;
        } else {
            errno = failure;
        }
    }
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

int dreamd__socket_connect(const char *address, uint64_t deadline_ms, volatile sig_atomic_t *cancel,
                           dreamd_error *err)
{
    char host[256], port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    if (dreamd__address_parse(host, port, address, err) != DREAMD_OK) {
        return -1;
    }
    int failure = getaddrinfo(host, port, &hints, &list);
    if (failure != 0) {
        dreamd__fail(err, DREAMD_UNAVAILABLE, "%s: cannot find the host: %s", address,
                     gai_strerror(failure));
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *to = list; to && fd < 0; to = to->ai_next) {
        fd = connect_to(to, deadline_ms, cancel, err);
    }
    int why = errno;
    freeaddrinfo(list);
    if (fd < 0 && cancel && *cancel) {
        dreamd__fail(err, DREAMD_CANCELLED, "cancelled while connecting to %s:%s", host, port);
    } else if (fd < 0) {
        dreamd__fail(err, DREAMD_UNAVAILABLE,
                     "cannot connect to %s:%s: %s; is dreamd running there? (start it with: dreamd "
                     "serve)",
                     host, port, strerror(why));
    }
    return fd;
}
