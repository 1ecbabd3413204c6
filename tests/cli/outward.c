/* Preloaded: writes down every host that a process asks the network for, and every address that it connects to. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void note(const char *what, const char *whom) {
    const char *path = getenv("OUTWARD_LOG");
    if (!path || !whom || !strncmp(whom, "127.", 4) || !strcmp(whom, "::1") || !strcmp(whom, "localhost")) return;
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0) return;
    dprintf(log, "%s %s\n", what, whom);
    close(log);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    note("getaddrinfo", node);
    return real(node, service, hints, found);
}

int connect(int socket_, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t);
    char text[INET6_ADDRSTRLEN] = "";
    *(void **)&real = dlsym(RTLD_NEXT, "connect");
    if (address && address->sa_family == AF_INET)
        note("connect", inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text, sizeof text));
    if (address && address->sa_family == AF_INET6)
        note("connect", inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, text, sizeof text));
    return real(socket_, address, length);
}
