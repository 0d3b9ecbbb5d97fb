/* Preloaded into keepalived on a machine whose kernel has no IPVS, or whose table is not to be
 * touched: IPVS seems to be there, and to do what it is told.
 *
 * Generic netlink knows no family "IPVS", so that the older socket options are used
 * (linux/ip_vs.h); they succeed.  Changes of destinations are appended, a line each, to the
 * file that $IPVS_SHIM_LOG names: "add", "edit" or "del", address:port, weight, and seconds of
 * the monotonic clock.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static int (*real_resolve)(void *, const char *);
static int (*real_set)(int, int, int, const void *, socklen_t);
static int (*real_get)(int, int, int, void *, socklen_t *);

/* Once: every check asks for SO_ERROR, and must not pay for a look-up of names. */
__attribute__((constructor)) static void find(void)
{
    real_resolve = dlsym(RTLD_NEXT, "genl_ctrl_resolve");
    real_set = dlsym(RTLD_NEXT, "setsockopt");
    real_get = dlsym(RTLD_NEXT, "getsockopt");
}

static int ours(int level, int option)
{
    return level == IPPROTO_IP && option >= IP_VS_BASE_CTL && option <= IP_VS_SO_SET_MAX;
}

static void record(const char *word, const void *value)
{
    const struct ip_vs_dest_user *dest =
        (const void *)((const char *)value + sizeof(struct ip_vs_service_user));
    struct in_addr address = {.s_addr = dest->addr};
    const char *path = getenv("IPVS_SHIM_LOG");
    struct timespec now;
    FILE *file = path ? fopen(path, "a") : NULL;

    if (!file)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    fprintf(file, "%s %s:%d %d %ld.%06ld\n", word, inet_ntoa(address), ntohs(dest->port),
            dest->weight, (long)now.tv_sec, now.tv_nsec / 1000);
    fclose(file);
}

int genl_ctrl_resolve(void *socket, const char *name)
{
    return strcmp(name, IPVS_GENL_NAME) ? real_resolve(socket, name) : -ENOENT;
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    if (!ours(level, option))
        return real_set(fd, level, option, value, length);
    if (option == IP_VS_SO_SET_ADDDEST)
        record("add", value);
    if (option == IP_VS_SO_SET_EDITDEST)
        record("edit", value);
    if (option == IP_VS_SO_SET_DELDEST)
        record("del", value);
    return 0;
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
    struct ip_vs_getinfo info = {.version = 0x010201, .size = 4096};

    if (!ours(level, option))
        return real_get(fd, level, option, value, length);
    memset(value, 0, *length);
    if (option == IP_VS_SO_GET_INFO && *length >= sizeof info)
        memcpy(value, &info, sizeof info);
    return 0;
}
