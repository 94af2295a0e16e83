/* Traffic of the soak at compiled speed.
 *
 * send     FILE ADDRESS PORT SIZE WINDOW PATIENCE   numbered packets, a window of them
 *          unconfirmed; after so many milliseconds they count as lost
 * receive  FILE ADDRESS PORT               marks each number in a bitmap
 * tap      FILE INTERFACE                  what an observer can read of the wire
 * forward  FILE ONE TWO LOSS REORDER DUPLICATE   a bad wire; shares in ten thousandths
 *
 * FILE holds the counters, shared with whoever watches, and the word to stop.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32
#define LONGEST 9216
#define NUMBERS (1ULL << 33)
#define HELD 64

/* The same order as in soak.py. */
struct page {
    volatile uint64_t stop, sent, received, highest, twice, corrupt, octets;
    volatile uint64_t esp, neighbour, clear, marked, missed;
    volatile uint64_t forwarded, lost, reordered, duplicated;
    volatile uint64_t hush; /* for the sender alone */
};

static struct page *page;
static const char marker[] = "plutino demo: who reads this on the wire has found a leak. ";

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000ULL + at.tv_nsec;
}

static uint64_t mix(uint64_t value) {
    value += 0x9e3779b97f4a7c15ULL;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31);
}

static struct sockaddr_in address_of(const char *text, const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
        fail("address");
    return address;
}

static void nap(long ns) {
    struct timespec time = {0, ns};
    nanosleep(&time, NULL);
}

static void send_all(char **words) {
    struct sockaddr_in to = address_of(words[0], words[1]);
    size_t size = atoi(words[2]);
    uint64_t window = atoi(words[3]), number = 0, floor = 0, seen = 0, moved = now();
    uint64_t patience = atoi(words[4]) * 1000000ULL;
    static char buffers[BATCH][LONGEST];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
        fail("connect");
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BATCH; i++) {
        for (size_t at = 16; at < size; at++)
            buffers[i][at] = marker[(at - 16) % (sizeof marker - 1)];
        parts[i].iov_base = buffers[i];
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    while (!page->stop && !page->hush && number < NUMBERS) {
        uint64_t highest = page->highest;
        if (highest != seen || number == floor) {
            seen = highest;
            moved = now();
        }
        if (highest > floor)
            floor = highest;
        uint64_t room = number - floor < window ? window - (number - floor) : 0;
        if (room == 0 && now() - moved > patience)
            floor = number; /* the last ones are lost */
        if (room < BATCH && room < window) {
            nap(5000);
            if (room == 0)
                continue;
        }
        unsigned count = room < BATCH ? room : BATCH;
        for (unsigned i = 0; i < count; i++) {
            uint64_t hash = mix(number + i);
            uint64_t head[2] = {number + i, hash};
            memcpy(buffers[i], head, sizeof head);
            parts[i].iov_len = hash % 4 ? size : 64 + hash % (size - 63);
        }
        int done = sendmmsg(fd, messages, count, 0);
        if (done > 0) {
            number += done;
            page->sent = number;
        } else if (errno != ENOBUFS && errno != EINTR && errno != ECONNREFUSED)
            fail("sendmmsg");
    }
}

/* Each message gets a buffer of its own. */
static void lay_out(struct mmsghdr messages[BATCH], struct iovec parts[BATCH],
                    char buffers[BATCH][LONGEST]) {
    memset(messages, 0, BATCH * sizeof messages[0]);
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){buffers[i], LONGEST};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
}

static void receive_all(char **words) {
    struct sockaddr_in at = address_of(words[0], words[1]);
    static char buffers[BATCH][LONGEST];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    struct timeval patience = {0, 100000};
    int octets = 32 << 20, fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (bind(fd, (struct sockaddr *)&at, sizeof at))
        fail("bind");
    uint64_t *seen = mmap(NULL, NUMBERS / 8, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (seen == MAP_FAILED)
        fail("mmap");
    lay_out(messages, parts, buffers);
    while (!page->stop) {
        int count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < count; i++) {
            uint64_t head[2];
            unsigned length = messages[i].msg_len;
            memcpy(head, buffers[i], sizeof head);
            if (length < sizeof head || head[0] >= NUMBERS || head[1] != mix(head[0])) {
                page->corrupt++;
                continue;
            }
            uint64_t bit = 1ULL << (head[0] % 64), *word = &seen[head[0] / 64];
            if (*word & bit) {
                page->twice++;
                continue;
            }
            *word |= bit;
            page->received++;
            page->octets += length;
            if (head[0] + 1 > page->highest)
                page->highest = head[0] + 1;
        }
    }
}

static int packet_socket(const char *name) {
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    int octets = 64 << 20, fd = socket(AF_PACKET, SOCK_RAW, 0);
    struct timeval patience = {0, 100000};
    at.sll_ifindex = if_nametoindex(name);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at))
        fail(name);
    return fd;
}

enum kind { ESP, NEIGHBOUR, CLEAR };

static enum kind classify(const unsigned char *frame, size_t length) {
    unsigned ethertype = length < 54 ? 0 : frame[12] << 8 | frame[13];
    if (length >= 14 && frame[12] == 8 && frame[13] == 6)
        return NEIGHBOUR;
    if (length >= 34 && frame[12] == 8 && frame[13] == 0)
        return frame[23] == 50 ? ESP : CLEAR;
    if (ethertype != ETH_P_IPV6)
        return CLEAR;
    const unsigned char *next = frame + 54;
    unsigned protocol = frame[20];
    if (protocol == 0 && length >= 70) {
        protocol = next[0];
        next += 8 * (next[1] + 1);
    }
    if (protocol == 58 && next < frame + length)
        return *next >= 130 && *next <= 143 ? NEIGHBOUR : CLEAR;
    return protocol == 50 ? ESP : CLEAR;
}

static void tap(char **words) {
    static char buffers[BATCH][LONGEST];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    int fd = packet_socket(words[0]);
    lay_out(messages, parts, buffers);
    while (!page->stop) {
        int count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < count; i++) {
            size_t length = messages[i].msg_len;
            enum kind kind = classify((unsigned char *)buffers[i], length);
            *(kind == ESP ? &page->esp : kind == NEIGHBOUR ? &page->neighbour : &page->clear) += 1;
            if (memmem(buffers[i], length, marker, 16))
                page->marked++;
        }
        struct tpacket_stats stats;
        socklen_t size = sizeof stats;
        if (!getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size))
            page->missed += stats.tp_drops;
    }
}

struct held {
    size_t length;
    unsigned after;
    char frame[LONGEST];
};

static void put(int to, const char *frame, size_t length) {
    while (send(to, frame, length, 0) < 0 && (errno == ENOBUFS || errno == EAGAIN) && !page->stop)
        nap(10000);
    page->forwarded++;
}

static void release(int to, struct held *held, int all) {
    for (int i = 0; i < HELD; i++)
        if (held[i].length && (all || held[i].after-- == 0)) {
            put(to, held[i].frame, held[i].length);
            held[i].length = 0;
        }
}

static void forward(char **words) {
    static struct held held[2][HELD];
    static char frame[LONGEST];
    unsigned loss = atoi(words[2]), reorder = atoi(words[3]), duplicate = atoi(words[4]);
    struct pollfd ends[2];
    for (int i = 0; i < 2; i++) {
        int one = 1;
        ends[i] = (struct pollfd){packet_socket(words[i]), POLLIN, 0};
        if (setsockopt(ends[i].fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one))
            fail("PACKET_IGNORE_OUTGOING");
    }
    while (!page->stop) {
        int ready = poll(ends, 2, 5);
        for (int i = 0; i < 2; i++) {
            int to = ends[1 - i].fd;
            if (ready == 0)
                release(to, held[i], 1);
            for (int turn = 0; ready > 0 && turn < BATCH; turn++) {
                ssize_t length = recv(ends[i].fd, frame, sizeof frame, MSG_DONTWAIT);
                if (length <= 0)
                    break;
                unsigned chance = random() % 10000;
                if (classify((unsigned char *)frame, length) != ESP) {
                    put(to, frame, length);
                } else if (chance < loss) {
                    page->lost++;
                } else if (chance < loss + reorder) {
                    struct held *slot = &held[i][random() % HELD];
                    if (slot->length)
                        put(to, slot->frame, slot->length);
                    memcpy(slot->frame, frame, length);
                    slot->length = length;
                    slot->after = random() % 64;
                    page->reordered++;
                    continue;
                } else {
                    put(to, frame, length);
                    if (chance < loss + reorder + duplicate) {
                        put(to, frame, length);
                        page->duplicated++;
                    }
                }
                release(to, held[i], 0);
            }
        }
    }
}

int main(int count, char **words) {
    static const struct {
        const char *name;
        int count;
        void (*run)(char **);
    } roles[] = {{"send", 8, send_all}, {"receive", 5, receive_all}, {"tap", 4, tap},
                 {"forward", 8, forward}};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = count > 2 ? open(words[2], O_RDWR | O_CREAT, 0600) : -1;
    if (fd < 0 || ftruncate(fd, 4096))
        fail("FILE");
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        fail("mmap");
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (!strcmp(words[1], roles[i].name) && count == roles[i].count) {
            roles[i].run(words + 3);
            return 0;
        }
    fprintf(stderr, "no such role\n");
    return 2;
}
