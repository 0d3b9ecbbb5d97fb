/* tap PORT: how long it is from one check of a server to the next, seen from outside.
 *
 * Listens to the SYNs that leave for PORT on the loopback interface; a server is known by the
 * last two bytes of its address.  For each line of standard input it prints how many gaps there
 * were since the last line, and then each in microseconds.  Ends with its input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SERVERS = 1 << 16, GAPS = 1 << 22, BUFFER = 1 << 24, TO = ETH_HLEN + 16, TO_END = TO + 4 };

static long long last[SERVERS];
static unsigned gaps[GAPS];
static int count;

static int tapping(int port)
{
    /* IPv4 without options and TCP; to the port; SYN without ACK; seen as it arrives. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, SKF_AD_OFF + SKF_AD_PKTTYPE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 8, 0),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETH_HLEN + 9),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 6),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ETH_HLEN + 22),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 4),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETH_HLEN + 33),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, TO_END),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog filter = {sizeof code / sizeof *code, code};
    struct sockaddr_ll lo = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP),
                             .sll_ifindex = if_nametoindex("lo")};
    int fd = socket(AF_PACKET, SOCK_RAW, 0), yes = 1, buffer = BUFFER;

    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
    if (fd < 0 || bind(fd, (struct sockaddr *)&lo, sizeof lo)) {
        perror("tap");
        exit(1);
    }
    return fd;
}

/* The kernel's time of the packet is in the one control message that was asked for. */
static void take(int fd)
{
    unsigned char packet[TO_END];
    char control[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec part = {packet, sizeof packet};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *stamp;

    while (message.msg_controllen = sizeof control, recvmsg(fd, &message, MSG_DONTWAIT) > 0) {
        stamp = CMSG_FIRSTHDR(&message);
        if (!stamp)
            continue;
        struct timespec *at = (void *)CMSG_DATA(stamp);
        long long now = at->tv_sec * 1000000LL + at->tv_nsec / 1000;
        int server = packet[TO_END - 2] << 8 | packet[TO_END - 1];
        if (last[server] && count < GAPS)
            gaps[count++] = now - last[server];
        last[server] = now;
    }
}

int main(int argc, char **argv)
{
    struct pollfd ready[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                             {.fd = tapping(argc > 1 ? atoi(argv[1]) : 0), .events = POLLIN}};
    char line[64];

    for (;;) {
        poll(ready, 2, -1);
        take(ready[1].fd);
        if (!ready[0].revents)
            continue;
        if (read(STDIN_FILENO, line, sizeof line) <= 0)
            return 0;
        printf("%d\n", count);
        for (int i = 0; i < count; i++)
            printf("%u\n", gaps[i]);
        fflush(stdout);
        count = 0;
    }
}
