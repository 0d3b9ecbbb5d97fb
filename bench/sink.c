/* sink: a server that takes whatever connections checks make, as fast as C can.
 *
 * Listens on every address.  A request of HTTP is answered with 200 after a moment; a connection
 * that ends is closed.  Prints the port.  Of standard input the line "silence" lets it answer no SYN any
 * more; for any other it prints the number of connections it has accepted.  Ends with its
 * input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { INPUT = 0, EVENTS = 512, BACKLOG = 65535, WORK = 300 };

static const char page[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                           "Connection: close\r\nContent-Length: 11\r\n\r\nI am well.\n";

static void watch(int poll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event))
        perror("sink: epoll_ctl");
}

static int stream(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
}

static int listening(void)
{
    struct sockaddr_in place = {.sin_family = AF_INET};
    int fd = stream();

    if (bind(fd, (struct sockaddr *)&place, sizeof place) || listen(fd, BACKLOG)) {
        perror("sink");
        exit(1);
    }
    return fd;
}

static struct sockaddr_in place_of(int server)
{
    struct sockaddr_in place;
    socklen_t length = sizeof place;

    getsockname(server, (struct sockaddr *)&place, &length);
    return place;
}

/* A queue for none that holds one is full: the kernel drops every SYN. */
static void silence(int poll, int server)
{
    struct sockaddr_in place = place_of(server);

    epoll_ctl(poll, EPOLL_CTL_DEL, server, NULL);
    listen(server, 0);
    connect(stream(), (struct sockaddr *)&place, sizeof place);
}

/* Take all that wait; return how many those were. */
static long accept_all(int poll, int server)
{
    long count = 0;
    int fd;

    while ((fd = accept4(server, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        watch(poll, fd);
        count++;
    }
    return count;
}

/* One read is enough: no check asks for more than a packet holds.  Return whether it asks. */
static int asks(int client)
{
    char question[4096];
    ssize_t length = read(client, question, sizeof question);

    if (length <= 0)
        close(client);
    return length > 0 && question[0] == 'G';
}

/* As no network and no server answers before whoever asks has had time to wait for it. */
static void answer(const int *clients, int count)
{
    if (count)
        usleep(WORK);
    for (int i = 0; i < count; i++) {
        if (write(clients[i], page, sizeof page - 1) < 0)
            perror("sink: write");
        close(clients[i]);
    }
}

static void obey(int poll, int server, long accepted)
{
    char line[64] = "";

    if (read(INPUT, line, sizeof line - 1) <= 0)
        exit(0);
    if (!strncmp(line, "silence", 7))
        silence(poll, server);
    else
        printf("%ld\n", accepted);
}

int main(void)
{
    struct rlimit files = {0};
    struct epoll_event events[EVENTS];
    int poll = epoll_create1(0), server = listening();
    int clients[EVENTS];
    long accepted = 0;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    watch(poll, INPUT);
    watch(poll, server);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("%d\n", ntohs(place_of(server).sin_port));
    for (;;) {
        int ready = epoll_wait(poll, events, EVENTS, -1), asking = 0;
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == server)
                accepted += accept_all(poll, server);
            else if (events[i].data.fd == INPUT)
                obey(poll, server, accepted);
            else if (asks(events[i].data.fd))
                clients[asking++] = events[i].data.fd;
        }
        answer(clients, asking);
    }
}
