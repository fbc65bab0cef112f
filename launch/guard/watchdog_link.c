/* TCP, because the end of a process shows at once, and its silence (a process that is stopped, a
 * host or link that is down) by what does not come; neither needs a file system that all share. */
#include "launch/guard/watchdog_link.h"

#include "core/clock.h"
#include "core/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

enum { MOST_ADDRESSES = 16, STRANGERS = 32, TOKEN_BYTES = FCI_NAME_BYTES, QUEUE = 64 };
#define CONNECT_SECONDS 3.0
#define HELLO_SECONDS 10.0

typedef struct connection {
    int fd;   /* -1: none */
    int rank; /* -1: has not said yet */
    double since;
    size_t got;
    fci_message in;
    size_t sent, queued; /* bytes of `out` */
    fci_message *out;    /* QUEUE of them, made when first needed */
} connection;

struct fci_link {
    int rank, size;
    int listener; /* -1: none */
    char token[TOKEN_BYTES];
    int count;
    connection *at; /* on rank 0 one a rank and some for strangers */
    struct pollfd *polled;
};

/* Where rank 0 is, as it tells the others. */
typedef struct whereabouts {
    char token[TOKEN_BYTES], host[64];
    int32_t count;
    struct sockaddr_in6 address[MOST_ADDRESSES];
} whereabouts;

/* ---- One connection ---- */

static void make_ready(int fd)
{
    int on = 1;
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void drop(connection *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    fc_free(&c->out);
    *c = (connection){.fd = -1, .rank = -1};
}

static void flush(connection *c)
{
    while (c->sent < c->queued) {
        ssize_t n = send(c->fd, (char *)c->out + c->sent, c->queued - c->sent, MSG_NOSIGNAL);
        if (n <= 0) {
            return; /* later; an error shows when reading */
        }
        c->sent += (size_t)n;
    }
    c->sent = c->queued = 0;
}

static void post(connection *c, const fci_message *m)
{
    if (c->fd < 0) {
        return;
    }
    flush(c);
    size_t room = QUEUE * sizeof *m - c->queued;
    if (c->queued > 0 && (m->kind == FCI_STATUS || room < sizeof *m)) {
        return; /* the next one says the same, and more */
    }
    if (c->queued == 0) {
        ssize_t n = send(c->fd, m, sizeof *m, MSG_NOSIGNAL);
        if (n == (ssize_t)sizeof *m || (n < 0 && m->kind == FCI_STATUS)) {
            return;
        }
        c->sent = n > 0 ? (size_t)n : 0;
    }
    if (c->out == NULL) {
        c->out = fc_alloc(QUEUE, sizeof *c->out);
    }
    memcpy((char *)c->out + c->queued, m, sizeof *m);
    c->queued += sizeof *m;
}

/* ---- Rank 0 ---- */

static int listen_on_all(uint16_t *port)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
    socklen_t bytes = sizeof any;
    int off = 0, fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd >= 0 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0 &&
        bind(fd, (struct sockaddr *)&any, sizeof any) == 0 && listen(fd, SOMAXCONN) == 0 &&
        getsockname(fd, (struct sockaddr *)&any, &bytes) == 0) {
        make_ready(fd);
        *port = any.sin6_port;
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    /* No IPv6 here. */
    struct sockaddr_in any4 = {.sin_family = AF_INET};
    bytes = sizeof any4;
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&any4, sizeof any4) == 0 &&
        listen(fd, SOMAXCONN) == 0 && getsockname(fd, (struct sockaddr *)&any4, &bytes) == 0) {
        make_ready(fd);
        *port = any4.sin_port;
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

/* IPv4 addresses are told as IPv6 ones, mapped. */
static bool as_ipv6(const struct sockaddr *from, uint16_t port, struct sockaddr_in6 *to)
{
    *to = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
    if (from != NULL && from->sa_family == AF_INET) {
        to->sin6_addr.s6_addr[10] = to->sin6_addr.s6_addr[11] = 0xff;
        memcpy(&to->sin6_addr.s6_addr[12],
               &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
        return true;
    }
    if (from != NULL && from->sa_family == AF_INET6) {
        to->sin6_addr = ((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
        return !IN6_IS_ADDR_LINKLOCAL(&to->sin6_addr);
    }
    return false;
}

static void list_addresses(whereabouts *w, uint16_t port)
{
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0) {
        return;
    }
    for (struct ifaddrs *i = all; i != NULL && w->count < MOST_ADDRESSES; i = i->ifa_next) {
        if ((i->ifa_flags & IFF_UP) != 0 && as_ipv6(i->ifa_addr, port, &w->address[w->count])) {
            w->count++;
        }
    }
    freeifaddrs(all);
}

static void accept_all(fci_link *l)
{
    for (int fd; (fd = accept(l->listener, NULL, NULL)) >= 0;) {
        connection *c = NULL;
        for (int i = 0; i < l->count && c == NULL; i++) {
            c = l->at[i].fd < 0 ? &l->at[i] : NULL;
        }
        if (c == NULL) {
            close(fd);
            continue;
        }
        make_ready(fd);
        *c = (connection){.fd = fd, .rank = -1, .since = fc_clock_seconds()};
    }
}

/* ---- The others ---- */

static bool is_loopback(const struct sockaddr_in6 *a)
{
    const uint8_t *b = a->sin6_addr.s6_addr;
    return IN6_IS_ADDR_LOOPBACK(&a->sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr) && b[12] == 127);
}

static bool wait_for(int fd, short event, double seconds)
{
    struct pollfd p = {.fd = fd, .events = event};
    return poll(&p, 1, (int)(1000 * seconds)) == 1 && (p.revents & event) != 0;
}

static int try_address(const struct sockaddr_in6 *a)
{
    bool four = IN6_IS_ADDR_V4MAPPED(&a->sin6_addr);
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = a->sin6_port};
    memcpy(&a4.sin_addr, &a->sin6_addr.s6_addr[12], 4);
    int fd = socket(four ? AF_INET : AF_INET6, SOCK_STREAM, 0), error = 0;
    socklen_t bytes = sizeof error;
    if (fd < 0) {
        return -1;
    }
    make_ready(fd);
    int code = four ? connect(fd, (struct sockaddr *)&a4, sizeof a4)
                    : connect(fd, (const struct sockaddr *)a, sizeof *a);
    bool there =
        code == 0 || (errno == EINPROGRESS && wait_for(fd, POLLOUT, CONNECT_SECONDS) &&
                      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 && error == 0);
    if (!there) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Whoever knows the token is our rank 0: addresses may name other hosts than they do there. */
static bool greet(fci_link *l, int fd, const char *place)
{
    fci_message m = {.kind = FCI_HELLO, .rank = l->rank}, answer;
    memcpy(m.now, l->token, sizeof l->token);
    snprintf(m.place, sizeof m.place, "%s", place);
    size_t got = 0;
    if (send(fd, &m, sizeof m, MSG_NOSIGNAL) != (ssize_t)sizeof m) {
        return false;
    }
    while (got < sizeof answer && wait_for(fd, POLLIN, CONNECT_SECONDS)) {
        ssize_t n = recv(fd, (char *)&answer + got, sizeof answer - got, 0);
        if (n <= 0) {
            return false;
        }
        got += (size_t)n;
    }
    return got == sizeof answer && answer.kind == FCI_STATUS && answer.rank == 0;
}

static bool connect_to(fci_link *l, const whereabouts *w, const char *place)
{
    char host[sizeof w->host] = "";
    (void)gethostname(host, sizeof host - 1);
    bool here = strcmp(host, w->host) == 0;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < w->count; i++) {
            /* The likelier kind of address first. */
            if (is_loopback(&w->address[i]) != (round == 0 ? here : !here)) {
                continue;
            }
            int fd = try_address(&w->address[i]);
            if (fd >= 0 && greet(l, fd, place)) {
                l->at[0] = (connection){.fd = fd, .rank = 0};
                return true;
            }
            if (fd >= 0) {
                close(fd);
            }
        }
    }
    return false;
}

fc_status fci_link_open(fci_link **out, fc_comm *comm, const char *place,
                        fc_status (*serve)(fci_link *l), int64_t *missing)
{
    *out = NULL;
    *missing = 0;
    if (fc_comm_size(comm) == 1) {
        return FC_OK;
    }
    fci_link *l = fc_alloc(1, sizeof *l);
    *l = (fci_link){.rank = fc_comm_rank(comm), .size = fc_comm_size(comm), .listener = -1};
    l->count = l->rank == 0 ? l->size + STRANGERS : 1;
    l->at = fc_alloc((size_t)l->count, sizeof *l->at);
    l->polled = fc_alloc((size_t)l->count + 2, sizeof *l->polled);
    for (int i = 0; i < l->count; i++) {
        l->at[i] = (connection){.fd = -1, .rank = -1};
    }
    whereabouts w = {0};
    fc_status status = FC_OK;
    if (l->rank == 0) {
        uint16_t port = 0;
        l->listener = listen_on_all(&port);
        (void)gethostname(w.host, sizeof w.host - 1);
        if (l->listener >= 0 && getrandom(w.token, sizeof w.token, 0) == (ssize_t)sizeof w.token) {
            memcpy(l->token, w.token, sizeof w.token);
            list_addresses(&w, port);
            status = serve(l);
        }
    }
    if (status == FC_OK) {
        status = fc_comm_broadcast(comm, &w, sizeof w, FC_COMM_U8, 0);
    }
    bool alone = false;
    if (status == FC_OK) {
        memcpy(l->token, w.token, sizeof w.token);
        alone = l->rank > 0 && !connect_to(l, &w, place);
        *missing = alone;
        status = fc_comm_all_reduce(comm, missing, 1, FC_COMM_I64, FC_COMM_SUM);
    }
    if (alone) {
        fci_link_close(&l);
    }
    *out = l;
    return status;
}

/* ---- Messages ---- */

void fci_link_send(fci_link *l, int rank, const fci_message *m)
{
    for (int i = 0; i < l->count; i++) {
        if (l->at[i].fd >= 0 && l->at[i].rank == rank) {
            post(&l->at[i], m);
        }
    }
}

void fci_link_shout(const fci_link *l, const fci_message *m)
{
    for (int i = 0; i < l->count; i++) {
        if (l->at[i].fd >= 0 && l->at[i].rank >= 0) {
            (void)!send(l->at[i].fd, m, sizeof *m, MSG_NOSIGNAL);
        }
    }
}

typedef void (*handler)(void *ctx, const fci_message *m);

static void lose(connection *c, int error, handler handle, void *ctx)
{
    fci_message m = {.kind = FCI_LOST, .rank = c->rank, .number = error};
    bool known = c->rank >= 0;
    drop(c);
    if (known) {
        handle(ctx, &m);
    }
}

/* False: the connection is no longer there. */
static bool take(fci_link *l, connection *c, handler handle, void *ctx)
{
    fci_message m = c->in;
    c->got = 0;
    m.now[FCI_NAME_BYTES - 1] = m.before[FCI_NAME_BYTES - 1] = m.place[FCI_PLACE_BYTES - 1] = '\0';
    if (c->rank < 0) {
        if (m.kind != FCI_HELLO || m.rank < 1 || m.rank >= l->size ||
            memcmp(c->in.now, l->token, sizeof l->token) != 0) {
            drop(c);
            return false;
        }
        fci_message welcome = {.kind = FCI_STATUS, .rank = 0};
        c->rank = m.rank;
        post(c, &welcome);
        m.now[0] = '\0';
    } else if (m.kind < FCI_STATUS || m.kind > FCI_BYE || m.rank < 0 || m.rank >= l->size ||
               (l->rank == 0 && m.rank != c->rank)) {
        lose(c, EPROTO, handle, ctx);
        return false;
    }
    handle(ctx, &m);
    return true;
}

static void receive(fci_link *l, connection *c, handler handle, void *ctx)
{
    for (;;) {
        ssize_t n = recv(c->fd, (char *)&c->in + c->got, sizeof c->in - c->got, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n <= 0) {
            /* A process that dies with words unread resets its connection. */
            lose(c, n < 0 && errno != ECONNRESET && errno != EPIPE ? errno : 0, handle, ctx);
            return;
        }
        c->got += (size_t)n;
        if (c->got == sizeof c->in && !take(l, c, handle, ctx)) {
            return;
        }
    }
}

void fci_link_wait(fci_link *l, double seconds, int wake, handler handle, void *ctx)
{
    for (double until = fc_clock_seconds() + seconds, left = seconds; left > 0;
         left = until - fc_clock_seconds()) {
        l->polled[l->count] = (struct pollfd){.fd = l->listener, .events = POLLIN};
        l->polled[l->count + 1] = (struct pollfd){.fd = wake, .events = POLLIN};
        for (int i = 0; i < l->count; i++) {
            connection *c = &l->at[i];
            if (c->fd >= 0 && l->rank == 0 && c->rank < 0 &&
                fc_clock_seconds() - c->since > HELLO_SECONDS) {
                drop(c);
            }
            l->polled[i] = (struct pollfd){
                .fd = c->fd, .events = (short)(POLLIN | (c->queued > 0 ? POLLOUT : 0))};
        }
        if (poll(l->polled, (nfds_t)l->count + 2, (int)(1000 * left) + 1) <= 0) {
            continue;
        }
        for (int i = 0; i < l->count; i++) {
            if (l->at[i].fd >= 0 && (l->polled[i].revents & POLLOUT) != 0) {
                flush(&l->at[i]);
            }
            if (l->at[i].fd >= 0 && (l->polled[i].revents & ~POLLOUT) != 0) {
                receive(l, &l->at[i], handle, ctx);
            }
        }
        if (l->polled[l->count].revents != 0) {
            accept_all(l);
        }
        if (l->polled[l->count + 1].revents != 0) {
            return;
        }
    }
}

void fci_link_close(fci_link **lp)
{
    fci_link *l = *lp;
    if (l == NULL) {
        return;
    }
    for (int i = 0; i < l->count; i++) {
        drop(&l->at[i]);
    }
    if (l->listener >= 0) {
        close(l->listener);
    }
    fc_free(&l->at);
    fc_free(&l->polled);
    fc_free(lp);
}
