/* Preloaded into a netlink tool: writes each datagram it sends, as hex, to the file in
 * RECORD_NETLINK. What the kernel answers plays no part. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

static void record(const struct iovec *parts, size_t count) {
    const char *path = getenv("RECORD_NETLINK");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    for (size_t i = 0; i < count; i++)
        for (size_t at = 0; at < parts[i].iov_len; at++)
            fprintf(file, "%02x", ((unsigned char *)parts[i].iov_base)[at]);
    fputc('\n', file);
    fclose(file);
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
    ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    record(message->msg_iov, message->msg_iovlen);
    return real(socket, message, flags);
}

ssize_t send(int socket, const void *data, size_t length, int flags) {
    ssize_t (*real)(int, const void *, size_t, int) = dlsym(RTLD_NEXT, "send");
    struct iovec part = {(void *)data, length};
    record(&part, 1);
    return real(socket, data, length, flags);
}

ssize_t sendto(int socket, const void *data, size_t length, int flags,
               const struct sockaddr *to, socklen_t to_length) {
    ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) =
        dlsym(RTLD_NEXT, "sendto");
    struct iovec part = {(void *)data, length};
    record(&part, 1);
    return real(socket, data, length, flags, to, to_length);
}
