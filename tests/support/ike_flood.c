/* Sends IKE datagrams that mean nothing, or almost something, at a rate, and prints how many.
 *
 * ike_flood TARGET RATE SECONDS SOURCE...   datagrams on standard input: two octets of length each
 *
 * Each goes from one source after the other to port 500 and, with the non-ESP marker, to port 4500,
 * with another initiator's SPI each time. No more than RATE times SECONDS are sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#define BATCH 64
#define MOST 8192
#define LONGEST 2048

static uint8_t sample[MOST][LONGEST];
static size_t length[MOST];
static uint64_t state = 0x9e3779b97f4a7c15u;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static size_t read_samples(void) {
    uint8_t prefix[2];
    size_t count = 0;
    while (count < MOST && fread(prefix, 1, 2, stdin) == 2) {
        size_t size = (size_t)prefix[0] << 8 | prefix[1];
        if (size > LONGEST || fread(sample[count], 1, size, stdin) != size)
            fail("samples");
        length[count++] = size;
    }
    return count;
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "ike_flood TARGET RATE SECONDS SOURCE...\n");
        return 2;
    }
    struct sockaddr_in to[2] = {{.sin_family = AF_INET, .sin_port = htons(500)},
                                {.sin_family = AF_INET, .sin_port = htons(4500)}};
    for (int port = 0; port < 2; port++)
        if (inet_pton(AF_INET, argv[1], &to[port].sin_addr) != 1)
            fail("target");
    double rate = atof(argv[2]), seconds = atof(argv[3]);
    int sources = argc - 4, sockets[sources];
    for (int each = 0; each < sources; each++) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        if (inet_pton(AF_INET, argv[4 + each], &from.sin_addr) != 1)
            fail("source");
        sockets[each] = socket(AF_INET, SOCK_DGRAM, 0);
        if (bind(sockets[each], (struct sockaddr *)&from, sizeof from))
            fail("bind");
    }
    size_t count = read_samples(), place = 0;
    if (!count)
        fail("no samples");
    static uint8_t marker[4];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH][3];
    uint64_t spis[BATCH];
    uint64_t sent = 0, most = rate * seconds;
    double start = now();
    for (int turn = 0; sent < most && now() - start < seconds; turn++) {
        for (int each = 0; each < BATCH; each++, place = (place + 1) % count) {
            int port = each & 1;
            size_t size = length[place], head = size < 28 ? 0 : 8;
            spis[each] = next();
            parts[each][0] = (struct iovec){marker, port ? sizeof marker : 0};
            parts[each][1] = (struct iovec){&spis[each], head};
            parts[each][2] = (struct iovec){sample[place] + head, size - head};
            messages[each] = (struct mmsghdr){.msg_hdr = {.msg_name = &to[port],
                                                          .msg_namelen = sizeof to[port],
                                                          .msg_iov = parts[each],
                                                          .msg_iovlen = 3}};
        }
        int done = sendmmsg(sockets[turn % sources], messages, BATCH, MSG_DONTWAIT);
        sent += done > 0 ? done : 0;
        while (sent > (now() - start) * rate)
            nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    printf("%llu\n", (unsigned long long)sent);
    return 0;
}
