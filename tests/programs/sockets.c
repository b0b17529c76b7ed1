/* Sockets and waiting for them. Port numbers are chosen by the system and never printed. */
#define _GNU_SOURCE
#include "show.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_un unix_name(const char *path) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path, path);
    return name;
}

static void section_unix_stream(void) {
    struct sockaddr_un name = unix_name("socket");
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SHOW(listener);
    SHOW(bind(listener, (struct sockaddr *)&name, sizeof name));
    SHOW(bind(listener, (struct sockaddr *)&name, sizeof name));
    SHOW(listen(listener, 5));
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(connect(client, (struct sockaddr *)&name, sizeof name));
    struct sockaddr_un peer;
    socklen_t length = sizeof peer;
    int server = accept(listener, (struct sockaddr *)&peer, &length);
    SHOW(server);
    SHOW(length);
    length = sizeof peer;
    SHOW(getpeername(client, (struct sockaddr *)&peer, &length));
    printf("peer %s length %u\n", peer.sun_path, length);
    SHOW(send(client, "question", 8, 0));
    char text[64] = "";
    SHOW(recv(server, text, sizeof text, MSG_PEEK));
    SHOW(recv(server, text, 4, MSG_WAITALL));
    SHOW(recv(server, text, sizeof text, 0));
    SHOW(recv(server, text, sizeof text, MSG_DONTWAIT));
    SHOW(write(server, "answer", 6));
    SHOW(shutdown(server, SHUT_WR));
    SHOW(read(client, text, sizeof text));
    SHOW(read(client, text, sizeof text));
    SHOW(close(server));
    SHOW(send(client, "x", 1, MSG_NOSIGNAL));
    struct ucred credentials;
    int pair[2];
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    length = sizeof credentials;
    SHOW(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &credentials, &length));
    CHECK(credentials.uid == getuid() && credentials.pid == getpid());
    name = unix_name("missing");
    SHOW(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&name, sizeof name));
    SHOW(socket(AF_UNIX, 77, 0));
    SHOW(socket(12345, SOCK_STREAM, 0));
    SHOW(listen(0, 1));
    SHOW(unlink("socket"));
}

static void section_unix_datagram(void) {
    struct sockaddr_un name = unix_name("datagram"), from;
    int receiver = socket(AF_UNIX, SOCK_DGRAM, 0), sender = socket(AF_UNIX, SOCK_DGRAM, 0);
    SHOW(bind(receiver, (struct sockaddr *)&name, sizeof name));
    SHOW(sendto(sender, "one", 3, 0, (struct sockaddr *)&name, sizeof name));
    SHOW(connect(sender, (struct sockaddr *)&name, sizeof name));
    SHOW(send(sender, "number two", 10, 0));
    char text[64];
    socklen_t length = sizeof from;
    SHOW(recvfrom(receiver, text, sizeof text, 0, (struct sockaddr *)&from, &length));
    SHOW(recvfrom(receiver, text, 3, MSG_TRUNC, NULL, NULL));
    SHOW(recv(receiver, text, 3, MSG_DONTWAIT));
    struct iovec parts[2] = {{"scat", 4}, {"tered", 5}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    SHOW(sendmsg(sender, &message, 0));
    char a[3], b[30] = "";
    struct iovec into[2] = {{a, 3}, {b, 30}};
    message = (struct msghdr){.msg_iov = into, .msg_iovlen = 2};
    SHOW(recvmsg(receiver, &message, 0));
    printf("%.3s %s flags %d\n", a, b, message.msg_flags);
}

static void section_pass_descriptor(void) {
    int pair[2], pipes[2];
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    SHOW(pipe(pipes));
    char byte = 'd';
    struct iovec part = {&byte, 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(header), pipes, sizeof pipes);
    SHOW(sendmsg(pair[0], &message, 0));
    SHOW(close(pipes[0]));
    SHOW(close(pipes[1]));
    memset(&control, 0, sizeof control);
    message.msg_controllen = sizeof control;
    SHOW(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC));
    header = CMSG_FIRSTHDR(&message);
    CHECK(header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(2 * sizeof(int)));
    int received[2];
    memcpy(received, CMSG_DATA(header), sizeof received);
    printf("descriptors %d %d\n", received[0], received[1]);
    SHOW(write(received[1], "passed", 6));
    char text[8] = "";
    SHOW(read(received[0], text, 6));
    puts(text);
}

static void inet(int family, struct sockaddr *name, socklen_t length) {
    int listener = socket(family, SOCK_STREAM, 0), one = 1;
    SHOW(listener);
    SHOW(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    SHOW(bind(listener, name, length));
    SHOW(listen(listener, 5));
    SHOW(getsockname(listener, name, &length));
    SHOW(length);
    int client = socket(family, SOCK_STREAM, 0);
    SHOW(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
    SHOW(connect(client, name, length));
    int server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    SHOW(server);
    SHOW(fcntl(server, F_GETFD));
    int value = 0;
    socklen_t size = sizeof value;
    SHOW(getsockopt(client, SOL_SOCKET, SO_ERROR, &value, &size));
    SHOW(value);
    SHOW(getsockopt(client, SOL_SOCKET, SO_TYPE, &value, &size));
    SHOW(value);
    SHOW(getsockopt(client, IPPROTO_TCP, TCP_NODELAY, &value, &size));
    SHOW(value);
    SHOW(send(client, "over loopback", 13, 0));
    char text[64] = "";
    SHOW(recv(server, text, 13, MSG_WAITALL));
    puts(text);
    SHOW(close(client));
    SHOW(recv(server, text, sizeof text, 0));
    SHOW(close(listener));
    client = socket(family, SOCK_STREAM, 0);
    SHOW(connect(client, name, length));
}

static void section_inet(void) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    inet(AF_INET, (struct sockaddr *)&name, sizeof name);
    int first = socket(AF_INET, SOCK_DGRAM, 0), second = socket(AF_INET, SOCK_DGRAM, 0);
    name.sin_port = 0;
    SHOW(bind(first, (struct sockaddr *)&name, sizeof name));
    socklen_t length = sizeof name;
    getsockname(first, (struct sockaddr *)&name, &length);
    SHOW(sendto(second, "datagram", 8, 0, (struct sockaddr *)&name, sizeof name));
    char text[64];
    SHOW(recvfrom(first, text, sizeof text, 0, (struct sockaddr *)&name, &length));
    SHOW(sendto(first, "reply", 5, 0, (struct sockaddr *)&name, length));
    SHOW(recv(second, text, sizeof text, 0));
    struct ifreq request = {.ifr_name = "lo"};
    SHOW(ioctl(first, SIOCGIFADDR, &request));
    printf("lo %s\n", inet_ntoa(((struct sockaddr_in *)&request.ifr_addr)->sin_addr));
    SHOW(ioctl(first, SIOCGIFFLAGS, &request));
    CHECK(request.ifr_flags & IFF_LOOPBACK);
    char space[4096];
    struct ifconf configuration = {.ifc_len = sizeof space, .ifc_buf = space};
    SHOW(ioctl(first, SIOCGIFCONF, &configuration));
    CHECK(configuration.ifc_len >= (int)sizeof(struct ifreq));
    strcpy(request.ifr_name, "none0");
    SHOW(ioctl(first, SIOCGIFADDR, &request));
}

static void section_poll(void) {
    int pipes[2];
    SHOW(pipe(pipes));
    struct pollfd watched[3] = {{pipes[0], POLLIN, 0}, {pipes[1], POLLOUT, 0}, {-1, POLLIN, 0}};
    SHOW(poll(watched, 1, 0));
    SHOW(poll(watched, 1, 20));
    SHOW(poll(watched, 3, -1));
    SHOW(watched[1].revents);
    SHOW(write(pipes[1], "x", 1));
    SHOW(poll(watched, 3, 1000));
    SHOW(watched[0].revents);
    SHOW(close(pipes[1]));
    SHOW(poll(watched, 2, 1000));
    SHOW(watched[0].revents);
    SHOW(watched[1].revents);
    SHOW(poll(NULL, 0, 10));
    struct timespec soon = {0, 10000000};
    SHOW(ppoll(watched, 0, &soon, NULL));
    SHOW(pipe(pipes));
    fd_set readable, writable;
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(pipes[0], &readable);
    FD_SET(pipes[1], &writable);
    struct timeval timeout = {1, 0};
    SHOW(select(10, &readable, &writable, NULL, &timeout));
    SHOW(FD_ISSET(pipes[0], &readable));
    SHOW(FD_ISSET(pipes[1], &writable) != 0);
    FD_SET(pipes[0], &readable);
    timeout = (struct timeval){0, 10000};
    SHOW(select(10, &readable, NULL, NULL, &timeout));
    CHECK(timeout.tv_sec == 0 && timeout.tv_usec == 0);
    SHOW(select(-1, &readable, NULL, NULL, &timeout));
    FD_SET(200, &readable);
    SHOW(select(201, &readable, NULL, NULL, &timeout));
    FD_ZERO(&readable);
    SHOW(pselect(0, NULL, NULL, NULL, &soon, NULL));
}

static int event;

static void *post_event(void *argument) {
    uint64_t value = 5;
    (void)argument;
    if (write(event, &value, 8) != 8)
        puts("write failed");
    return NULL;
}

static void section_epoll(void) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    SHOW(epoll);
    event = eventfd(3, EFD_NONBLOCK);
    SHOW(event);
    uint64_t value;
    SHOW(read(event, &value, 8));
    SHOW(value);
    SHOW(read(event, &value, 8));
    SHOW(read(event, &value, 4));
    struct epoll_event wanted = {.events = EPOLLIN, .data.u64 = 0x123456789abcdef}, got[4];
    SHOW(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &wanted));
    SHOW(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &wanted));
    SHOW(epoll_wait(epoll, got, 4, 0));
    SHOW(epoll_wait(epoll, got, 4, 20));
    pthread_t thread;
    pthread_create(&thread, NULL, post_event, NULL);
    SHOW(epoll_wait(epoll, got, 4, -1));
    pthread_join(thread, NULL);
    printf("events %x data %llx\n", got[0].events, (unsigned long long)got[0].data.u64);
    SHOW(epoll_pwait(epoll, got, 4, 0, NULL));
    SHOW(read(event, &value, 8));
    SHOW(value);
    int pair[2];
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    wanted = (struct epoll_event){.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = 7};
    SHOW(epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &wanted));
    SHOW(epoll_wait(epoll, got, 4, 1000));
    SHOW(epoll_wait(epoll, got, 4, 0));
    SHOW(write(pair[1], "x", 1));
    SHOW(epoll_wait(epoll, got, 4, 1000));
    printf("events %x data %x\n", got[0].events, got[0].data.u32);
    wanted.events = EPOLLIN | EPOLLONESHOT;
    SHOW(epoll_ctl(epoll, EPOLL_CTL_MOD, pair[0], &wanted));
    SHOW(epoll_wait(epoll, got, 4, 1000));
    SHOW(epoll_wait(epoll, got, 4, 0));
    SHOW(epoll_ctl(epoll, EPOLL_CTL_DEL, pair[0], NULL));
    SHOW(epoll_ctl(epoll, EPOLL_CTL_DEL, pair[0], NULL));
    SHOW(epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, &wanted));
    SHOW(epoll_ctl(epoll, EPOLL_CTL_ADD, 1234, &wanted));
    SHOW(epoll_ctl(event, EPOLL_CTL_ADD, pair[0], &wanted));
    SHOW(epoll_wait(epoll, got, 0, 0));
    SHOW(epoll_wait(event, got, 4, 0));
    int file = open("file", O_RDWR | O_CREAT, 0600);
    SHOW(epoll_ctl(epoll, EPOLL_CTL_ADD, file, &wanted));
    SHOW(epoll_create(0));
    int counting = eventfd(2, EFD_SEMAPHORE);
    SHOW(read(counting, &value, 8));
    SHOW(value);
    int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec soon = {.it_value = {0, 10000000}};
    SHOW(timerfd_settime(timer, 0, &soon, NULL));
    SHOW(read(timer, &value, 8));
    SHOW(value);
}

/* A thread that blocks in a socket does not hold up the others. */
/* Who has sent a message, as the sender says and as Linux says. */
static void section_credentials(void) {
    for (int says = 0; says < 2; says++) {
        int pair[2], yes = 1;
        SHOW(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
        SHOW(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes));
        struct ucred credentials = {getpid(), getuid(), getgid()};
        char byte = 'c', control[CMSG_SPACE(sizeof credentials)] = "";
        struct iovec part = {&byte, 1};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        if (says) {
            message.msg_control = control;
            message.msg_controllen = sizeof control;
            struct cmsghdr *header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_CREDENTIALS;
            header->cmsg_len = CMSG_LEN(sizeof credentials);
            memcpy(CMSG_DATA(header), &credentials, sizeof credentials);
        }
        SHOW(sendmsg(pair[0], &message, 0));
        memset(control, 0, sizeof control);
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        SHOW(recvmsg(pair[1], &message, 0));
        memset(&credentials, 0, sizeof credentials);
        memcpy(&credentials, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof credentials);
        CHECK(credentials.pid == getpid() && credentials.uid == getuid() && credentials.gid == getgid());
    }
}

/* Control data that IPv6 gives, and flags that come back. */
static void section_control(void) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    socklen_t length = sizeof name;
    int to = socket(AF_INET6, SOCK_DGRAM, 0), from = socket(AF_INET6, SOCK_DGRAM, 0), yes = 1, class = 0x20, got = 0;
    SHOW(bind(to, (struct sockaddr *)&name, sizeof name));
    SHOW(getsockname(to, (struct sockaddr *)&name, &length));
    SHOW(setsockopt(to, IPPROTO_IPV6, IPV6_RECVTCLASS, &yes, sizeof yes));
    SHOW(setsockopt(to, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &yes, sizeof yes));
    SHOW(setsockopt(from, IPPROTO_IPV6, IPV6_TCLASS, &class, sizeof class));
    length = sizeof got;
    SHOW(getsockopt(from, IPPROTO_IPV6, IPV6_TCLASS, &got, &length));
    SHOW(got);
    SHOW(sendto(from, "x", 1, 0, (struct sockaddr *)&name, sizeof name));
    char byte, control[256];
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    SHOW(recvmsg(to, &message, MSG_CMSG_CLOEXEC));
    SHOW(message.msg_flags == MSG_CMSG_CLOEXEC);
    for (struct cmsghdr *at = CMSG_FIRSTHDR(&message); at; at = CMSG_NXTHDR(&message, at)) {
        int value;
        memcpy(&value, CMSG_DATA(at), sizeof value);
        printf("level %d type %d value %d\n", at->cmsg_level, at->cmsg_type, value);
    }
}

static int blocked_pair[2];

static void *read_blocked(void *argument) {
    char byte = 0;
    (void)argument;
    long result = read(blocked_pair[0], &byte, 1);
    return (void *)(result * 1000 + byte);
}

static void section_blocked(void) {
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, blocked_pair));
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, read_blocked, NULL);
    long good = 0;
    for (int i = 0; i < 1000; i++) {
        int fd = open("/dev/null", O_WRONLY);
        good += write(fd, "x", 1) == 1;
        close(fd);
    }
    SHOW(good);
    SHOW(write(blocked_pair[1], "aaa", 3));
    for (int i = 0; i < 3; i++) {
        void *result;
        pthread_join(threads[i], &result);
        printf("thread read %ld\n", (long)result);
    }
    struct timeval timeout = {0, 20000};
    SHOW(setsockopt(blocked_pair[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
    char byte;
    SHOW(read(blocked_pair[0], &byte, 1));
}

int main(int argc, char **argv) {
    static const struct section sections[] = {
        {"unix_stream", section_unix_stream}, {"unix_datagram", section_unix_datagram},
        {"pass_descriptor", section_pass_descriptor}, {"inet", section_inet}, {"poll", section_poll},
        {"epoll", section_epoll}, {"blocked", section_blocked}, {"control", section_control}, {"credentials", section_credentials}, {NULL, NULL}};
    return run_section(argc, argv, sections);
}
