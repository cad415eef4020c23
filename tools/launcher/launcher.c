/*
 * launcher: starts one lane at a time, measures it, and leaves nothing behind.
 *
 * usage: launcher [--no-network] [--own-pids] [--cgroup-memory BYTES] [--cgroup-pids N] [--no-cgroup]
 *        launcher --spawn-loop N PROGRAM
 *
 *   --no-network      run everything in a network namespace of its own (loopback is up)
 *   --own-pids        a process namespace of its own: lanes see and can signal only each other (kill(-1) too),
 *                     and the kernel kills them all when the launcher dies, however it dies
 *   --cgroup-memory   limit the memory of a lane with all its descendants
 *   --cgroup-pids     limit the number of processes of a lane
 *   --no-cgroup       do not look for cgroups; the limits become rlimits
 *   --spawn-loop      the yardstick: N bare posix_spawn/wait4 launches; prints one time in ns a line
 *
 * Why a program of its own: a child started from Python inherits Python's high-water mark of memory, its
 * slow fork and its timer noise.  This one is a few hundred KB, static, single-threaded, starts children the
 * way vfork does, and sleeps in poll(2) while they run.
 *
 * PROTOCOL, version 1, over stdin (requests) and stdout (replies).  First the launcher says one line:
 *
 *   DEADHEAT-LAUNCHER 1 pid=7 network=isolated processes=shared tree=cgroup-v2 memory=cgroup-v1 pids=cgroup-v1 wait=pidfd\n
 *
 *     network  host (not asked) | isolated | isolated-userns | failed-<errno>
 *     processes  shared (not asked) | isolated | isolated-userns | failed-<errno>; when isolated, the pid of
 *              `started` is one of that namespace (the hello's own pid never is)
 *     tree     cgroup-v2 (a lane is frozen while it is killed) | proc-scan (SIGSTOP sweeps only)
 *     memory   none (not asked) | cgroup-v2 | cgroup-v1 | rlimit (RLIMIT_DATA, per process)
 *     pids     none (not asked) | cgroup-v2 | cgroup-v1 | rlimit (RLIMIT_NPROC, per user; root is exempt)
 *     wait     pidfd | sigchld
 *
 * Then frames in both directions: "<verb> <length>\n" and <length> bytes of fields, each field
 * "<key> <length>\n<value>\n".  Values are raw bytes; numbers are decimal.  Every request gets one reply.
 *
 *   run     start a program, wait, kill what it left, reply `result`
 *             arg        repeated; argv.  arg 0 is also the path unless `program` is given; PATH is not searched
 *             program    path to execute
 *             env        repeated, NAME=VALUE; the whole environment, nothing is inherited
 *             cwd        working directory              stdin   file to read from (default /dev/null)
 *             timeout_ms 0 is none                      cpus    "0,2-3"
 *             stdout_cap, stderr_cap  bytes (default 1 MiB)     overflow  "kill" (default) or "drop"
 *             nofile, core (default 0), as, data, nproc, fsize  rlimits
 *   start   the same for a long-lived program; also ready (text a line of its output contains) and
 *           ready_timeout_ms.  Replies `started` (id, pid, ready_line, ready_ns) when the line came (at once
 *           without `ready`), or `result` when the program ended or was too late.  timeout_ms does not apply
 *   signal  id, signal (number): replies `done`
 *   usage   id: replies `usage` (user_ns, sys_ns, rss_bytes, peak_rss_bytes, threads, fds) of the main process
 *   wait    id, timeout_ms: replies `result`; after the timeout everything is killed, kind `timeout`
 *
 *   result  kind: exited | signalled | timeout | flood | oom | spawn-failed
 *           code: exit code, signal number or errno;  step: what failed (spawn-failed only)
 *           wall_ns user_ns sys_ns max_rss_bytes minor_faults major_faults voluntary_switches
 *           involuntary_switches: user_ns to involuntary_switches cover the program and the children it waited for
 *           leftover: descendants that had to be killed;  unkilled: those that would not die
 *           oom_kills: victims of the OOM killer in the lane's (in a container, the container's) cgroup during the run;
 *           kind is oom when the program itself was one
 *           psi_some_us: growth of CPU pressure, absent where the kernel does not say
 *           steal_ticks, total_ticks: of all CPUs together
 *           stdout, stderr: at most cap bytes;  dropped_bytes: what came beyond it (overflow drop)
 *   error   message: the request was not understood; nothing was started
 *
 * The launcher ends, after killing every tree and removing its cgroups, when stdin hangs up (at any moment:
 * the harness died) or on SIGINT, SIGTERM, SIGHUP.  Should it be killed with SIGKILL, its children get
 * SIGKILL too (PR_SET_PDEATHSIG) and the next launcher clears the cgroup it left.
 *
 * A started program has a keeper: a fork of the launcher that is subreaper of that tree only, so two trees
 * are never mixed up.  The keeper speaks over a socket pair; when that hangs up it kills its tree.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PROTOCOL_VERSION = 1,
    MAX_FRAME_BYTES = 16 << 20,
    MAX_KEEPERS = 64,
    DEFAULT_CAP_BYTES = 1 << 20,
    CHILD_STACK_BYTES = 64 << 10,
    KILL_DEADLINE_MS = 10000,
    KILL_PAUSE_MS = 20,
    STOP_SWEEPS = 64,
    BIG_BUFFER_BYTES = 256 << 10,
};

/* ---------------------------------------------------------------- small helpers */

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("launcher: error: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void *must(void *memory)
{
    if (memory == NULL)
        die("out of memory");
    return memory;
}

static bool write_all(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t n = write(fd, bytes, count);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes += n;
        count -= (size_t)n;
    }
    return true;
}

/* Write a short text to a control file (cgroup, proc). */
static bool put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return ok;
}

/* Read a short text from a control file; false when it cannot be read. */
static bool get_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

/* A growing byte buffer. */
struct buffer {
    char *bytes;
    size_t count, room;
};

static void buffer_add(struct buffer *b, const void *bytes, size_t count)
{
    if (b->count + count > b->room) {
        b->room = (b->count + count) * 2 + 256;
        b->bytes = must(realloc(b->bytes, b->room));
    }
    memcpy(b->bytes + b->count, bytes, count);
    b->count += count;
}

static void buffer_free(struct buffer *b)
{
    free(b->bytes);
    *b = (struct buffer){0};
}

static void add_field(struct buffer *b, const char *key, const void *value, size_t count)
{
    char head[96];
    int n = snprintf(head, sizeof head, "%s %zu\n", key, count);
    buffer_add(b, head, (size_t)n);
    buffer_add(b, value, count);
    buffer_add(b, "\n", 1);
}

static void add_text(struct buffer *b, const char *key, const char *value)
{
    add_field(b, key, value, strlen(value));
}

static void add_number(struct buffer *b, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    add_text(b, key, text);
}

/* ---------------------------------------------------------------- state of this process */

enum how { HOW_NONE, HOW_RLIMIT, HOW_CGROUP1, HOW_CGROUP2 };
static const char *const HOW_NAMES[] = {"none", "rlimit", "cgroup-v1", "cgroup-v2"};

/* One controller's cgroup: where it is, where this process came from (v1: the launcher is a member). */
struct cgroup {
    char dir[PATH_MAX];
    char home[PATH_MAX];
    int lock_fd; /* flock held while we live: tells a successor whether the group is stale */
};

struct keeper {
    int id;
    pid_t pid, child;
    int socket;
};

static struct {
    bool want_no_network, want_own_pids, want_cgroup;
    int outer_pid; /* our pid as the harness sees it */
    char processes[32];
    int64_t memory_bytes, pids; /* 0: no limit asked */
    char network[32];
    enum how memory_how, pids_how;
    struct cgroup tree, memory, pids_group; /* dir "" when there is none */
    bool tree_works;
    bool have_pidfd;
    int control_fd;  /* stdin of the launcher, the socket of a keeper */
    int reply_fd;    /* stdout of the launcher, the socket of a keeper */
    int term_fd;     /* signalfd: time to go */
    int chld_fd;     /* signalfd: a child ended */
    int psi_fd, stat_fd;
    char oom_score[16]; /* our own /proc/self/oom_score_adj; "": it cannot be read */
    cpu_set_t home_cores, cores; /* where we may run: from the start on, and now */
    char oom_path[PATH_MAX + 32]; /* the file with the OOM killer's count, "" where there is none */
    bool is_keeper;
    int last_id;
    struct keeper keepers[MAX_KEEPERS];
    int keeper_count;
} self;

/* ---------------------------------------------------------------- the process tree */

struct process {
    pid_t pid, parent;
    char state;
    bool ours;
};

struct processes {
    struct process *items;
    size_t count, room;
};

/* The state and parent of one process, from /proc/PID/stat; the name may contain anything, so look after the last ')'. */
static bool read_process(const char *name, struct process *out)
{
    char path[300], text[1024];
    snprintf(path, sizeof path, "/proc/%s/stat", name);
    if (!get_file(path, text, sizeof text))
        return false;
    char *end = strrchr(text, ')');
    int parent = 0;
    char state = 0;
    if (end == NULL || sscanf(end + 1, " %c %d", &state, &parent) != 2)
        return false;
    *out = (struct process){.pid = atoi(name), .parent = parent, .state = state, .ours = false};
    return true;
}

static void all_processes(struct processes *list)
{
    list->count = 0;
    DIR *dir = opendir("/proc");
    if (dir == NULL)
        return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        struct process p;
        if (!isdigit((unsigned char)e->d_name[0]) || !read_process(e->d_name, &p))
            continue;
        if (list->count == list->room) {
            list->room = list->room * 2 + 256;
            list->items = must(realloc(list->items, list->room * sizeof *list->items));
        }
        list->items[list->count++] = p;
    }
    closedir(dir);
}

static struct process *find_process(struct processes *list, pid_t pid)
{
    size_t low = 0, high = list->count; /* /proc lists in ascending order */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (list->items[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < list->count && list->items[low].pid == pid ? &list->items[low] : NULL;
}

static struct keeper *keeper_of_pid(pid_t pid)
{
    for (int i = 0; i < self.keeper_count; i++)
        if (self.keepers[i].pid == pid)
            return &self.keepers[i];
    return NULL;
}

/* Mark every descendant of this process except the keepers and what is theirs; returns how many are alive. */
static size_t mark_tree(struct processes *list)
{
    pid_t me = getpid();
    size_t alive = 0;
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < list->count; i++) {
            struct process *p = &list->items[i];
            if (p->ours || keeper_of_pid(p->pid) != NULL)
                continue;
            struct process *parent = p->parent == me ? NULL : find_process(list, p->parent);
            if (p->parent != me && (parent == NULL || !parent->ours))
                continue;
            p->ours = changed = true;
            alive += p->state != 'Z' && p->state != 'X';
        }
    }
    return alive;
}

/* Set of pids already signalled, so that a slow death is not counted twice. */
struct pid_set {
    pid_t *items;
    size_t count, room;
};

static bool pid_set_add(struct pid_set *set, pid_t pid)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->items[i] == pid)
            return false;
    if (set->count == set->room) {
        set->room = set->room * 2 + 64;
        set->items = must(realloc(set->items, set->room * sizeof *set->items));
    }
    set->items[set->count++] = pid;
    return true;
}

/* Stop all before killing any: a stopped process cannot fork, so the sweeps converge even in a fork storm. */
static size_t stop_tree(struct processes *list)
{
    struct pid_set stopped = {0};
    size_t alive = 0;
    for (int sweep = 0; sweep < STOP_SWEEPS; sweep++) {
        bool fresh = false;
        all_processes(list);
        alive = mark_tree(list);
        for (size_t i = 0; i < list->count; i++) {
            struct process *p = &list->items[i];
            if (p->ours && p->state != 'Z' && pid_set_add(&stopped, p->pid)) {
                kill(p->pid, SIGSTOP);
                fresh = true;
            }
        }
        if (!fresh)
            break;
    }
    free(stopped.items);
    return alive;
}

static void drain_signals(int fd)
{
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) > 0)
        ;
}

/* Reap what has ended; true when no child is left (keepers count as children). */
static bool reap(void)
{
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
        struct keeper *keeper = keeper_of_pid(pid);
        if (keeper != NULL)
            keeper->pid = 0; /* the number may be given to another process now */
    }
    return pid < 0 && errno == ECHILD;
}

static void kill_marked(struct processes *list, struct pid_set *killed)
{
    for (size_t i = 0; i < list->count; i++) {
        struct process *p = &list->items[i];
        if (!p->ours || p->state == 'Z' || p->state == 'X')
            continue;
        kill(p->pid, SIGKILL);
        pid_set_add(killed, p->pid);
    }
}

/*
 * Nothing in a frozen group forks, and what is killed there still dies.  Why not cgroup.kill: kernels since 6.14
 * also kill whatever is cloned into the group later (seen on 6.18: the next lane died before its exec).
 */
static void freeze_tree(bool frozen)
{
    char path[PATH_MAX + 32];
    if (self.tree.dir[0] == '\0')
        return;
    snprintf(path, sizeof path, "%s/cgroup.freeze", self.tree.dir);
    put_file(path, frozen ? "1" : "0");
}

struct sweep {
    int64_t killed, unkilled;
};

/*
 * Kill and reap every descendant.  As subreaper this process is the parent of all orphans, however often they
 * forked or called setsid, so "no children" is "no tree".  The main process must have been waited for before.
 */
static struct sweep kill_tree(void)
{
    struct sweep result = {0};
    if (reap())
        return result;
    struct processes list = {0};
    struct pid_set killed = {0};
    int64_t deadline = now_ns() + (int64_t)KILL_DEADLINE_MS * 1000000;
    freeze_tree(true);
    for (;;) {
        size_t alive = stop_tree(&list);
        kill_marked(&list, &killed);
        bool childless = reap();
        if (childless || alive == 0 || now_ns() > deadline)
            break;
        drain_signals(self.chld_fd);
        poll(&(struct pollfd){.fd = self.chld_fd, .events = POLLIN}, 1, KILL_PAUSE_MS);
    }
    freeze_tree(false);
    reap();
    all_processes(&list);
    result.unkilled = (int64_t)mark_tree(&list);
    result.killed = (int64_t)killed.count;
    free(list.items);
    free(killed.items);
    return result;
}

/* ---------------------------------------------------------------- cgroups */

/* The mount point of cgroup2 (controller NULL) or of a v1 controller. */
static bool find_mount(const char *controller, char *out)
{
    FILE *mounts = fopen("/proc/self/mounts", "re");
    char line[4096], dir[PATH_MAX], type[64], options[1024];
    bool found = false;
    while (mounts != NULL && !found && fgets(line, sizeof line, mounts) != NULL) {
        if (sscanf(line, "%*s %4095s %63s %1023s", dir, type, options) != 3)
            continue;
        if (controller == NULL)
            found = strcmp(type, "cgroup2") == 0;
        else if (strcmp(type, "cgroup") == 0)
            for (char *o = strtok(options, ","); o != NULL; o = strtok(NULL, ","))
                found = found || strcmp(o, controller) == 0;
    }
    if (mounts != NULL)
        fclose(mounts);
    if (found)
        strcpy(out, dir);
    return found;
}

/* This process's own path inside a hierarchy, from /proc/self/cgroup. */
static bool find_own_path(const char *controller, char *out, size_t size)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[4096];
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        char *names = strchr(line, ':');
        char *path = names != NULL ? strchr(names + 1, ':') : NULL;
        if (path == NULL)
            continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        if (controller == NULL)
            found = names[1] == '\0';
        else
            for (char *o = strtok(names + 1, ","); o != NULL; o = strtok(NULL, ","))
                found = found || strcmp(o, controller) == 0;
        if (found)
            snprintf(out, size, "%s", strcmp(path, "/") == 0 ? "" : path);
    }
    if (file != NULL)
        fclose(file);
    return found;
}

static void kill_members(const char *dir)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/cgroup.procs", dir);
    FILE *file = fopen(path, "re");
    int pid;
    while (file != NULL && fscanf(file, "%d", &pid) == 1)
        if (pid > 1 && pid != getpid())
            kill(pid, SIGKILL);
    if (file != NULL)
        fclose(file);
}

static void remove_group(const char *dir)
{
    for (int i = 0; i < 100 && rmdir(dir) != 0 && errno == EBUSY; i++) {
        kill_members(dir);
        usleep(KILL_PAUSE_MS * 1000);
    }
}

/* Remove what a launcher that was killed with SIGKILL left: a group nobody holds the lock of. */
static void clear_stale_groups(const char *parent)
{
    DIR *dir = opendir(parent);
    if (dir == NULL)
        return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[PATH_MAX + 300];
        if (strncmp(e->d_name, "deadheat-", 9) != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", parent, e->d_name);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            remove_group(path);
        if (fd >= 0)
            close(fd);
    }
    closedir(dir);
}

/* Make and lock PARENT/deadheat-PID. */
static bool make_group(const char *parent, struct cgroup *group)
{
    struct stat found;
    char suffix[32] = "";
    if (self.is_keeper)
        snprintf(suffix, sizeof suffix, ".%d", (int)getpid());
    snprintf(group->dir, sizeof group->dir, "%.4000s/deadheat-%d%s", parent, self.outer_pid, suffix);
    for (int i = 0; i < 3; i++) {
        if (mkdir(group->dir, 0755) != 0 && errno != EEXIST)
            break;
        group->lock_fd = open(group->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (group->lock_fd >= 0 && flock(group->lock_fd, LOCK_EX | LOCK_NB) == 0 && stat(group->dir, &found) == 0)
            return true;
        if (group->lock_fd >= 0)
            close(group->lock_fd);
    }
    *group = (struct cgroup){.lock_fd = -1};
    return false;
}

/* Out of a v1 group that this process joined, back to where it came from; and no longer a holder of its lock. */
static void go_home(struct cgroup *group)
{
    char path[PATH_MAX + 32], pid[32];
    if (group->home[0] != '\0') {
        snprintf(path, sizeof path, "%s/cgroup.procs", group->home);
        snprintf(pid, sizeof pid, "%d", (int)getpid());
        put_file(path, pid);
    }
    if (group->lock_fd >= 0)
        close(group->lock_fd);
}

static void drop_group(struct cgroup *group)
{
    if (group->dir[0] == '\0')
        return;
    go_home(group);
    remove_group(group->dir);
    *group = (struct cgroup){.lock_fd = -1};
}

static bool put_group(const struct cgroup *group, const char *file, int64_t value)
{
    char path[PATH_MAX + 64], text[32];
    snprintf(path, sizeof path, "%s/%s", group->dir, file);
    snprintf(text, sizeof text, "%lld", (long long)value);
    return put_file(path, text);
}

/* The directory of this process's own group in a hierarchy (the mount itself where the path is not visible). */
static bool own_group_dir(const char *controller, char *mount, char *dir)
{
    char path[PATH_MAX];
    if (!find_mount(controller, mount) || !find_own_path(controller, path, sizeof path))
        return false;
    snprintf(dir, PATH_MAX, "%.2000s%.2000s", mount, path);
    if (access(dir, X_OK) != 0)
        strcpy(dir, mount);
    return true;
}

/*
 * v1: the launcher itself joins, so that children are born inside.  Moving each child instead would cost
 * milliseconds (the kernel waits for an RCU grace period) inside the timed region.
 */
static bool join_v1(const char *controller, const char *limit_file, int64_t limit, struct cgroup *group)
{
    char mount[PATH_MAX], home[PATH_MAX];
    if (!own_group_dir(controller, mount, home))
        return false;
    if (!make_group(home, group))
        return false;
    if (put_group(group, limit_file, limit) && put_group(group, "cgroup.procs", getpid())) {
        strcpy(group->home, home);
        return true;
    }
    drop_group(group);
    return false;
}

static bool clone_trial(void);

/* Cut the last part of a path below the mount; false at the mount. */
static bool to_parent(char *dir, const char *mount)
{
    char *slash = strrchr(dir, '/');
    if (strcmp(dir, mount) == 0 || slash == NULL || slash == dir)
        return false;
    *slash = '\0';
    return true;
}

/* v2: a child group, in our own group or the nearest ancestor that lets us; children are cloned into it. */
static void make_tree_group(void)
{
    char mount[PATH_MAX], dir[PATH_MAX];
    if (!own_group_dir(NULL, mount, dir))
        return;
    for (;;) {
        if (make_group(dir, &self.tree)) {
            self.tree_works = true;
            if (clone_trial())
                return;
            self.tree_works = false;
            drop_group(&self.tree);
        }
        if (!to_parent(dir, mount))
            return;
    }
}

/* Where groups may have been left; before we enter a process namespace, from which nobody outside can be killed. */
static void clear_stale(void)
{
    char mount[PATH_MAX], dir[PATH_MAX];
    if (own_group_dir("memory", mount, dir))
        clear_stale_groups(dir);
    if (own_group_dir("pids", mount, dir))
        clear_stale_groups(dir);
    if (own_group_dir(NULL, mount, dir))
        do
            clear_stale_groups(dir);
        while (to_parent(dir, mount));
}

static void limit_memory(void)
{
    if (self.memory_bytes == 0)
        return;
    self.memory_how = HOW_RLIMIT;
    if (!self.want_cgroup)
        return;
    if (self.tree_works && put_group(&self.tree, "memory.max", self.memory_bytes)) {
        put_group(&self.tree, "memory.swap.max", 0);
        self.memory_how = HOW_CGROUP2;
    } else if (join_v1("memory", "memory.limit_in_bytes", self.memory_bytes, &self.memory)) {
        put_group(&self.memory, "memory.memsw.limit_in_bytes", self.memory_bytes);
        self.memory_how = HOW_CGROUP1;
    }
}

static void limit_pids(void)
{
    if (self.pids == 0)
        return;
    self.pids_how = HOW_RLIMIT;
    if (!self.want_cgroup)
        return;
    if (self.tree_works && put_group(&self.tree, "pids.max", self.pids))
        self.pids_how = HOW_CGROUP2;
    else if (join_v1("pids", "pids.max", self.pids + 1, &self.pids_group)) /* + 1: this process */
        self.pids_how = HOW_CGROUP1;
}

/*
 * Where the OOM killer counts its victims: in the group that limits the lane, else (in a container, whose own limit
 * holds) in the group this process is in.
 */
static void find_oom_count(void)
{
    char mount[PATH_MAX], dir[PATH_MAX], *path = self.oom_path;
    if (self.memory_how == HOW_CGROUP2)
        snprintf(path, sizeof self.oom_path, "%s/memory.events", self.tree.dir);
    else if (self.memory_how == HOW_CGROUP1)
        snprintf(path, sizeof self.oom_path, "%s/memory.oom_control", self.memory.dir);
    else if (own_group_dir("memory", mount, dir))
        snprintf(path, sizeof self.oom_path, "%s/memory.oom_control", dir);
    else if (own_group_dir(NULL, mount, dir))
        snprintf(path, sizeof self.oom_path, "%s/memory.events", dir);
}

static void set_up_cgroups(void)
{
    self.tree = self.memory = self.pids_group = (struct cgroup){.lock_fd = -1};
    self.tree_works = false;
    if (self.want_cgroup)
        make_tree_group();
    limit_memory();
    limit_pids();
    find_oom_count();
}

static void drop_cgroups(void)
{
    drop_group(&self.memory);
    drop_group(&self.pids_group);
    drop_group(&self.tree);
}

static int64_t oom_kills(void)
{
    char text[1024];
    if (!get_file(self.oom_path, text, sizeof text))
        return 0;
    char *found = strstr(text, "oom_kill ");
    return found != NULL ? atoll(found + 9) : 0;
}

/* ---------------------------------------------------------------- requests */

struct request {
    char **args, **env;
    size_t arg_count, env_count;
    const char *program, *cwd, *stdin_path, *ready;
    int64_t timeout_ms, ready_timeout_ms, stdout_cap, stderr_cap;
    int64_t nofile, core, as, data, nproc, fsize; /* -1: not given */
    int64_t id, signal;
    bool drop_overflow, has_cpus;
    cpu_set_t cpus;
    char problem[200];
};

static bool parse_number(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0)
        return false;
    *out = value;
    return true;
}

static bool parse_cpus(const char *text, cpu_set_t *set)
{
    CPU_ZERO(set);
    while (*text != '\0') {
        char *end;
        if (!isdigit((unsigned char)*text))
            return false;
        long first = strtol(text, &end, 10), last = first;
        if (*end == '-' && isdigit((unsigned char)end[1]))
            last = strtol(end + 1, &end, 10);
        if (last < first || last >= CPU_SETSIZE)
            return false;
        for (long cpu = first; cpu <= last; cpu++)
            CPU_SET((int)cpu, set);
        text = *end == ',' ? end + 1 : end;
        if (*end != ',' && *end != '\0')
            return false;
    }
    return CPU_COUNT(set) > 0;
}

static void push(char ***list, size_t *count, char *value)
{
    if ((*count & (*count + 1)) == 0) /* room is always the next 2^k; one more for the closing NULL */
        *list = must(realloc(*list, ((*count + 1) * 2 + 1) * sizeof **list));
    (*list)[(*count)++] = value;
    (*list)[*count] = NULL;
}

static int64_t *number_field(struct request *r, const char *key)
{
    const struct {
        const char *key;
        int64_t *at;
    } table[] = {
        {"timeout_ms", &r->timeout_ms}, {"ready_timeout_ms", &r->ready_timeout_ms},
        {"stdout_cap", &r->stdout_cap}, {"stderr_cap", &r->stderr_cap},
        {"nofile", &r->nofile},         {"core", &r->core},
        {"as", &r->as},                 {"data", &r->data},
        {"nproc", &r->nproc},           {"fsize", &r->fsize},
        {"id", &r->id},                 {"signal", &r->signal},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].key, key) == 0)
            return table[i].at;
    return NULL;
}

/* Take one field; the value is NUL-terminated and belongs to the frame.  false: not understood. */
static bool take_field(struct request *r, const char *key, char *value)
{
    int64_t *number = number_field(r, key);
    if (number != NULL)
        return parse_number(value, number);
    if (strcmp(key, "arg") == 0)
        push(&r->args, &r->arg_count, value);
    else if (strcmp(key, "env") == 0)
        push(&r->env, &r->env_count, value);
    else if (strcmp(key, "program") == 0)
        r->program = value;
    else if (strcmp(key, "cwd") == 0)
        r->cwd = value;
    else if (strcmp(key, "stdin") == 0)
        r->stdin_path = value;
    else if (strcmp(key, "ready") == 0)
        r->ready = value;
    else if (strcmp(key, "overflow") == 0)
        r->drop_overflow = strcmp(value, "drop") == 0;
    else if (strcmp(key, "cpus") == 0)
        return r->has_cpus = parse_cpus(value, &r->cpus);
    else
        return false;
    return true;
}

/* Split the body of a frame, in place, into fields. */
static bool parse_request(char *body, size_t count, struct request *r)
{
    *r = (struct request){.stdout_cap = DEFAULT_CAP_BYTES, .stderr_cap = DEFAULT_CAP_BYTES, .nofile = -1,
                          .as = -1, .data = -1, .nproc = -1, .fsize = -1, .stdin_path = "/dev/null"};
    for (char *at = body, *end = body + count; at < end;) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        char *space = newline != NULL ? memchr(at, ' ', (size_t)(newline - at)) : NULL;
        int64_t length;
        snprintf(r->problem, sizeof r->problem, "malformed field at byte %zu", (size_t)(at - body));
        if (space == NULL)
            return false;
        *space = *newline = '\0';
        if (!parse_number(space + 1, &length) || length >= end - newline - 1 || newline[1 + length] != '\n')
            return false;
        char *value = newline + 1;
        value[length] = '\0';
        snprintf(r->problem, sizeof r->problem, "field %.40s is unknown or has a bad value", at);
        if (strlen(value) != (size_t)length || !take_field(r, at, value))
            return false;
        at = value + length + 1;
    }
    r->problem[0] = '\0';
    return true;
}

static void free_request(struct request *r)
{
    free(r->args);
    free(r->env);
}

/* ---------------------------------------------------------------- starting a child */

struct spawn {
    const struct request *request;
    const char *program;
    char *const *env;
    int stdin_fd, stdout_fd, stderr_fd;
    pid_t parent;
    const char *failed_step; /* written by the child: it shares our memory until exec */
    int failed_errno;
};

static char child_stack[CHILD_STACK_BYTES] __attribute__((aligned(16)));

static int fail(struct spawn *s, const char *step)
{
    s->failed_errno = errno;
    s->failed_step = step;
    return 127;
}

static bool set_limit(int which, int64_t value)
{
    struct rlimit limit = {.rlim_cur = (rlim_t)value, .rlim_max = (rlim_t)value};
    return value < 0 || setrlimit(which, &limit) == 0;
}

static bool set_limits(const struct request *r)
{
    int64_t data = r->data >= 0 || self.memory_how != HOW_RLIMIT ? r->data : self.memory_bytes;
    int64_t nproc = r->nproc >= 0 || self.pids_how != HOW_RLIMIT ? r->nproc : self.pids;
    return set_limit(RLIMIT_CORE, r->core) && set_limit(RLIMIT_NOFILE, r->nofile) && set_limit(RLIMIT_AS, r->as) &&
           set_limit(RLIMIT_DATA, data) && set_limit(RLIMIT_NPROC, nproc) && set_limit(RLIMIT_FSIZE, r->fsize);
}

/*
 * Runs in the child, in our address space, between clone and exec: system calls only, and as few as can be, because
 * they are timed.  What a child inherits (its cores, its place in the eyes of the OOM killer) is set before the clock
 * starts, see `timed`.
 */
static int child_main(void *argument)
{
    struct spawn *s = argument;
    const struct request *r = s->request;
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != s->parent)
        return 127;
    setsid();
    if (dup2(s->stdin_fd, 0) < 0 || dup2(s->stdout_fd, 1) < 0 || dup2(s->stderr_fd, 2) < 0)
        return fail(s, "dup2");
    if (r->cwd != NULL && chdir(r->cwd) != 0)
        return fail(s, "cwd");
    if (r->has_cpus && !CPU_EQUAL(&r->cpus, &self.cores) && sched_setaffinity(0, sizeof r->cpus, &r->cpus) != 0)
        return fail(s, "cpus");
    if (!set_limits(r))
        return fail(s, "rlimit");
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(s->program, r->args, s->env);
    return fail(s, "exec");
}

/* clone3 on a stack of its own: libc has no wrapper, and only clone3 can place the child in a cgroup. */
static long clone3_call(struct clone_args *args, int (*function)(void *), void *argument)
{
    long result;
#if defined(__x86_64__)
    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "movq %[argument], %%rdi\n\t"
                     "callq *%[function]\n\t"
                     "movl %%eax, %%edi\n\t"
                     "movl $60, %%eax\n\t" /* exit: never returns into the frame we share */
                     "syscall\n"
                     "1:"
                     : "=a"(result)
                     : "0"((long)SYS_clone3), "D"(args), "S"(sizeof *args), [function] "r"(function),
                       [argument] "r"(argument)
                     : "rcx", "r11", "cc", "memory");
#elif defined(__aarch64__)
    register long x0 __asm__("x0") = (long)args;
    register long x1 __asm__("x1") = (long)sizeof *args;
    register long x8 __asm__("x8") = SYS_clone3;
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x0, %[argument]\n\t"
                     "blr %[function]\n\t"
                     "mov x8, #93\n\t"
                     "svc #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x1), "r"(x8), [function] "r"(function), [argument] "r"(argument)
                     : "cc", "memory", "x30");
    result = x0;
#else
#error "unknown architecture"
#endif
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

/* vfork with a pidfd, into the lane's cgroup where there is one. */
static pid_t start_child(int (*function)(void *), void *argument, int *pidfd)
{
    *pidfd = -1;
    struct clone_args args = {
        .flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | (self.tree_works ? CLONE_INTO_CGROUP : 0),
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)child_stack,
        .stack_size = sizeof child_stack,
        .cgroup = self.tree_works ? (uint64_t)self.tree.lock_fd : 0,
    };
    long pid = clone3_call(&args, function, argument);
    if (pid >= 0 || (errno != ENOSYS && errno != EPERM && errno != EINVAL) || self.tree_works)
        return (pid_t)pid;
    pid = clone(function, child_stack + sizeof child_stack, CLONE_VM | CLONE_VFORK | SIGCHLD, argument);
    if (pid > 0)
        *pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    return (pid_t)pid;
}

static int exit_zero(void *unused)
{
    (void)unused;
    return 0;
}

/* Does starting a child (in the cgroup) work, and does it give a pidfd? */
static bool clone_trial(void)
{
    int pidfd;
    pid_t pid = start_child(exit_zero, NULL, &pidfd);
    self.have_pidfd = pidfd >= 0;
    if (pidfd >= 0)
        close(pidfd);
    return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

/* ---------------------------------------------------------------- machine pressure around a run */

struct pressure {
    int64_t psi_some_us; /* -1: not known */
    int64_t steal_ticks, total_ticks;
};

static struct pressure read_pressure(void)
{
    struct pressure p = {.psi_some_us = -1};
    char text[512];
    ssize_t n = self.psi_fd < 0 ? -1 : pread(self.psi_fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    char *total = strstr(text, "total=");
    if (total != NULL)
        p.psi_some_us = atoll(total + 6);
    n = self.stat_fd < 0 ? -1 : pread(self.stat_fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    long long v[8] = {0};
    sscanf(text, "cpu %lld %lld %lld %lld %lld %lld %lld %lld", v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6, v + 7);
    for (int i = 0; i < 8; i++)
        p.total_ticks += v[i];
    p.steal_ticks = v[7];
    return p;
}

/* ---------------------------------------------------------------- one run */

struct stream {
    int fd; /* read end; -1 after end of file */
    struct buffer data;
    int64_t cap;
    size_t scanned; /* bytes already searched for the ready line */
};

struct run {
    const struct request *request;
    struct spawn spawn;
    struct stream out, err;
    pid_t pid;
    int pidfd, status;
    bool flooded, timed_out, hung_up, ended, ready_sent;
    struct rusage usage;
    int64_t start_ns, end_ns, deadline_ns, dropped_bytes, oom_before;
    struct pressure before, after;
    struct sweep sweep;
};

static void stream_take(struct run *run, struct stream *s, const char *bytes, size_t count)
{
    size_t room = (size_t)s->cap - s->data.count;
    buffer_add(&s->data, bytes, count < room ? count : room);
    if (count <= room)
        return;
    run->dropped_bytes += (int64_t)(count - room);
    run->flooded = run->flooded || !run->request->drop_overflow;
}

/* Read what is there; at most 1 MiB a call so that a flood cannot starve the deadline. */
static void stream_read(struct run *run, struct stream *s)
{
    char chunk[1 << 16];
    for (int i = 0; i < 16 && s->fd >= 0; i++) {
        ssize_t n = read(s->fd, chunk, sizeof chunk);
        if (n > 0)
            stream_take(run, s, chunk, (size_t)n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            close(s->fd);
            s->fd = -1;
        } else
            return;
        if (run->flooded || (size_t)n < sizeof chunk)
            return;
    }
}

static void reply(const char *verb, const struct buffer *body);

static void send_started(struct run *run, const char *line, size_t count)
{
    struct buffer body = {0};
    add_number(&body, "pid", run->pid);
    add_number(&body, "ready_ns", now_ns() - run->start_ns);
    add_field(&body, "ready_line", line, count);
    reply("started", &body);
    buffer_free(&body);
    run->ready_sent = true;
    run->deadline_ns = 0;
}

/* Look for the ready text in the complete lines that are new. */
static void look_for_ready(struct run *run, struct stream *s)
{
    while (!run->ready_sent && s->scanned < s->data.count) {
        char *line = s->data.bytes + s->scanned;
        char *newline = memchr(line, '\n', s->data.count - s->scanned);
        if (newline == NULL)
            return;
        size_t count = (size_t)(newline - line);
        if (memmem(line, count, run->request->ready, strlen(run->request->ready)) != NULL)
            send_started(run, line, count);
        s->scanned += count + 1;
    }
}

/* A keeper's orders are single bytes: a signal to pass on, or 0 to kill the tree. */
static void take_orders(struct run *run)
{
    unsigned char orders[64];
    ssize_t n = read(self.control_fd, orders, sizeof orders);
    run->hung_up = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    for (ssize_t i = 0; i < n; i++) {
        if (orders[i] == 0)
            run->timed_out = true;
        else
            kill(run->pid, orders[i]); /* not yet waited for, so the pid is still its own */
    }
}

static int poll_timeout_ms(const struct run *run)
{
    if (run->deadline_ns == 0)
        return -1;
    int64_t left = run->deadline_ns - now_ns();
    int64_t ms = (left + 999999) / 1000000;
    return left <= 0 ? 0 : ms > INT_MAX ? INT_MAX : (int)ms;
}

static bool child_ended(struct run *run)
{
    pid_t pid = wait4(run->pid, &run->status, WNOHANG, &run->usage);
    if (pid != run->pid)
        return false;
    run->end_ns = now_ns();
    run->ended = true;
    return true;
}

/* Sleep until something happens, and take it; returns true when the run is over, one way or another. */
static bool step(struct run *run)
{
    struct pollfd fds[] = {
        {.fd = run->out.fd, .events = POLLIN},
        {.fd = run->err.fd, .events = POLLIN},
        {.fd = run->pidfd >= 0 ? run->pidfd : self.chld_fd, .events = POLLIN},
        {.fd = self.control_fd, .events = self.is_keeper ? POLLIN : POLLRDHUP},
        {.fd = self.term_fd, .events = POLLIN},
    };
    int ready = poll(fds, 5, poll_timeout_ms(run));
    if (fds[2].revents != 0) {
        if (run->pidfd < 0)
            drain_signals(self.chld_fd);
        if (child_ended(run))
            return true;
    }
    if (fds[0].revents != 0)
        stream_read(run, &run->out);
    if (fds[1].revents != 0)
        stream_read(run, &run->err);
    if (run->request->ready != NULL) {
        look_for_ready(run, &run->out);
        look_for_ready(run, &run->err);
    }
    if (self.is_keeper && fds[3].revents != 0)
        take_orders(run);
    else if (fds[3].revents != 0)
        run->hung_up = true;
    run->hung_up = run->hung_up || fds[4].revents != 0;
    run->timed_out = run->timed_out || (ready == 0 && run->deadline_ns != 0 && now_ns() >= run->deadline_ns);
    return run->flooded || run->timed_out || run->hung_up;
}

/* The main process first, so that its usage is kept; it dies within the deadline or is counted as unkilled. */
static void kill_main(struct run *run)
{
    kill(run->pid, SIGKILL);
    int64_t deadline = now_ns() + (int64_t)KILL_DEADLINE_MS * 1000000;
    while (!child_ended(run) && now_ns() < deadline) {
        struct pollfd fd = {.fd = run->pidfd >= 0 ? run->pidfd : self.chld_fd, .events = POLLIN};
        poll(&fd, 1, KILL_PAUSE_MS);
        drain_signals(self.chld_fd);
    }
    if (!run->ended)
        run->end_ns = now_ns();
}

static bool open_stream(struct stream *s, int *write_end, int64_t cap)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    s->fd = ends[0];
    s->cap = cap;
    *write_end = ends[1];
    return true;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Move this process; where that fails the child tries, and says what is wrong. */
static void use_cores(const cpu_set_t *cores)
{
    if (!CPU_EQUAL(cores, &self.cores) && sched_setaffinity(0, sizeof *cores, cores) == 0)
        self.cores = *cores;
}

/*
 * The lane is to be the first victim of the OOM killer, so that this process survives it.  A child inherits our score;
 * while it runs the scores are equal, and the killer takes who has more memory.
 */
static void be_victim(bool first)
{
    if (self.oom_score[0] != '\0')
        put_file("/proc/self/oom_score_adj", first ? "1000" : self.oom_score);
}

static bool prepare(struct run *run)
{
    static char *const empty[] = {NULL};
    const struct request *r = run->request;
    struct spawn *s = &run->spawn;
    s->request = r;
    s->program = r->program != NULL ? r->program : r->args[0];
    s->env = r->env != NULL ? r->env : empty;
    s->parent = getpid();
    s->stdin_fd = open(r->stdin_path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO must not hold us */
    if (s->stdin_fd < 0 || fcntl(s->stdin_fd, F_SETFL, 0) != 0)
        return fail(s, "stdin") == 0;
    if (!open_stream(&run->out, &s->stdout_fd, r->stdout_cap) || !open_stream(&run->err, &s->stderr_fd, r->stderr_cap))
        return fail(s, "pipe") == 0;
    return true;
}

/* From just before the clone to just after the wait, or to the moment at which the program has to be killed. */
static void watched(struct run *run)
{
    run->start_ns = now_ns();
    run->pid = start_child(child_main, &run->spawn, &run->pidfd);
    close_fd(&run->spawn.stdout_fd);
    close_fd(&run->spawn.stderr_fd);
    if (run->pid < 0) {
        fail(&run->spawn, "clone");
        run->end_ns = now_ns();
        return;
    }
    int64_t limit_ms = self.is_keeper ? run->request->ready_timeout_ms : run->request->timeout_ms;
    run->deadline_ns = limit_ms > 0 ? run->start_ns + limit_ms * 1000000 : 0;
    if (self.is_keeper && run->request->ready == NULL && run->spawn.failed_step == NULL)
        send_started(run, "", 0);
    while (!step(run))
        ;
}

/*
 * We are on the lane's cores before the clock starts: else the child's move to them is timed, and the signal between
 * cores that tells of its end.  While the lane runs we sleep; afterwards we leave its cores, which its leftovers may
 * keep busy.
 */
static void timed(struct run *run)
{
    const struct request *r = run->request;
    use_cores(r->has_cpus ? &r->cpus : &self.home_cores);
    be_victim(true);
    watched(run);
    be_victim(false);
    use_cores(&self.home_cores);
    if (run->pid > 0 && !run->ended)
        kill_main(run);
}

static void finish(struct run *run)
{
    if (run->pid > 0)
        run->sweep = kill_tree();
    run->sweep.unkilled += run->pid > 0 && !run->ended;
    stream_read(run, &run->out);
    stream_read(run, &run->err);
    close_fd(&run->out.fd);
    close_fd(&run->err.fd);
    close_fd(&run->pidfd);
    close_fd(&run->spawn.stdin_fd);
    close_fd(&run->spawn.stdout_fd);
    close_fd(&run->spawn.stderr_fd);
}

/*
 * exec hands the high-water mark of the memory it leaves (ours) to the program's own.  So after big output the
 * mark is reset, or every later lane would seem to need that much.
 */
static void forget_high_water(size_t buffered)
{
    if (buffered > BIG_BUFFER_BYTES)
        put_file("/proc/self/clear_refs", "5");
}

static const char *kind_of(const struct run *run, int64_t oom, int64_t *code)
{
    *code = 0;
    if (run->spawn.failed_step != NULL) {
        *code = run->spawn.failed_errno;
        return "spawn-failed";
    }
    if (run->flooded)
        return "flood";
    if (run->timed_out || !run->ended)
        return "timeout";
    *code = WIFSIGNALED(run->status) ? WTERMSIG(run->status) : WEXITSTATUS(run->status);
    if (WIFEXITED(run->status))
        return "exited";
    return *code == SIGKILL && oom > 0 ? "oom" : "signalled";
}

static int64_t time_ns(struct timeval t)
{
    return (int64_t)t.tv_sec * 1000000000 + (int64_t)t.tv_usec * 1000;
}

static void describe(const struct run *run, struct buffer *body)
{
    const struct rusage *u = &run->usage;
    int64_t oom = oom_kills() - run->oom_before, code;
    add_text(body, "kind", kind_of(run, oom, &code));
    add_number(body, "code", code);
    if (run->spawn.failed_step != NULL)
        add_text(body, "step", run->spawn.failed_step);
    add_number(body, "wall_ns", run->end_ns - run->start_ns);
    add_number(body, "user_ns", time_ns(u->ru_utime));
    add_number(body, "sys_ns", time_ns(u->ru_stime));
    add_number(body, "max_rss_bytes", (int64_t)u->ru_maxrss * 1024);
    add_number(body, "minor_faults", u->ru_minflt);
    add_number(body, "major_faults", u->ru_majflt);
    add_number(body, "voluntary_switches", u->ru_nvcsw);
    add_number(body, "involuntary_switches", u->ru_nivcsw);
    add_number(body, "leftover", run->sweep.killed);
    add_number(body, "unkilled", run->sweep.unkilled);
    add_number(body, "oom_kills", oom);
    if (run->before.psi_some_us >= 0 && run->after.psi_some_us >= 0)
        add_number(body, "psi_some_us", run->after.psi_some_us - run->before.psi_some_us);
    add_number(body, "steal_ticks", run->after.steal_ticks - run->before.steal_ticks);
    add_number(body, "total_ticks", run->after.total_ticks - run->before.total_ticks);
    add_number(body, "dropped_bytes", run->dropped_bytes);
    add_field(body, "stdout", run->out.data.count > 0 ? run->out.data.bytes : "", run->out.data.count);
    add_field(body, "stderr", run->err.data.count > 0 ? run->err.data.bytes : "", run->err.data.count);
}

/* Run a request to its end; false when the harness is gone. */
static bool run_request(const struct request *request)
{
    struct run run = {.request = request, .pidfd = -1, .out.fd = -1, .err.fd = -1,
                      .spawn = {.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1}};
    struct buffer body = {0};
    run.oom_before = oom_kills();
    drain_signals(self.chld_fd);
    bool prepared = prepare(&run);
    run.before = read_pressure();
    if (prepared)
        timed(&run);
    run.after = read_pressure();
    finish(&run);
    describe(&run, &body);
    if (!run.hung_up)
        reply("result", &body);
    size_t buffered = body.count;
    buffer_free(&body);
    buffer_free(&run.out.data);
    buffer_free(&run.err.data);
    forget_high_water(buffered);
    return !run.hung_up;
}

/* ---------------------------------------------------------------- frames */

__attribute__((noreturn)) static void leave(int code);

static void reply(const char *verb, const struct buffer *body)
{
    char head[64];
    int n = snprintf(head, sizeof head, "%s %zu\n", verb, body->count);
    struct buffer frame = {0};
    buffer_add(&frame, head, (size_t)n);
    buffer_add(&frame, body->count > 0 ? body->bytes : "", body->count);
    bool ok = write_all(self.reply_fd, frame.bytes, frame.count);
    buffer_free(&frame);
    if (!ok)
        leave(0);
}

static void reply_error(const char *message)
{
    struct buffer body = {0};
    add_text(&body, "message", message);
    reply("error", &body);
    buffer_free(&body);
}

/* Wait for bytes on fd; false on hang-up, on a signal to end, or after timeout_ms (-1: none). */
static bool wait_readable(int fd, int timeout_ms, bool *timed_out)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN},
                           {.fd = self.term_fd, .events = POLLIN},
                           {.fd = fd == self.control_fd ? -1 : self.control_fd, .events = POLLRDHUP}};
    int n;
    do
        n = poll(fds, 3, timeout_ms);
    while (n < 0 && errno == EINTR);
    if (timed_out != NULL)
        *timed_out = n == 0;
    if (fds[1].revents != 0 || fds[2].revents != 0)
        leave(0);
    return fds[0].revents != 0;
}

static bool read_exactly(int fd, char *bytes, size_t count)
{
    while (count > 0) {
        wait_readable(fd, -1, NULL);
        ssize_t n = read(fd, bytes, count);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return false;
        bytes += n;
        count -= (size_t)n;
    }
    return true;
}

/* Read one frame; the caller frees *body.  false at the end of the stream. */
static bool read_frame(int fd, char verb[32], char **body, size_t *count)
{
    char head[64];
    size_t n = 0;
    do {
        if (n + 1 >= sizeof head || !read_exactly(fd, head + n, 1))
            return false;
    } while (head[n++] != '\n');
    head[n - 1] = '\0';
    char *space = strchr(head, ' ');
    int64_t length;
    if (space == NULL || space - head >= 32 || !parse_number(space + 1, &length) || length > MAX_FRAME_BYTES)
        return false;
    *space = '\0';
    strcpy(verb, head);
    *count = (size_t)length;
    *body = must(malloc(*count + 1));
    if (read_exactly(fd, *body, *count))
        return true;
    free(*body);
    return false;
}

/* ---------------------------------------------------------------- keepers of long-lived programs */

static struct keeper *find_keeper(int64_t id)
{
    for (int i = 0; i < self.keeper_count; i++)
        if (self.keepers[i].id == id)
            return &self.keepers[i];
    return NULL;
}

static void open_signals(void);

__attribute__((noreturn)) static void keeper_main(int socket, const struct request *request)
{
    for (int i = 0; i < self.keeper_count; i++)
        close(self.keepers[i].socket);
    self.keeper_count = 0;
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    close(self.term_fd);
    close(self.chld_fd);
    self.is_keeper = true;
    self.control_fd = self.reply_fd = socket;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    open_signals();
    go_home(&self.memory); /* the launcher's groups: a keeper has its own limits */
    go_home(&self.pids_group);
    go_home(&self.tree);
    set_up_cgroups();
    run_request(request);
    leave(0);
}

static void forget_keeper(struct keeper *keeper)
{
    close(keeper->socket);
    while (keeper->pid > 0 && waitpid(keeper->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    *keeper = self.keepers[--self.keeper_count];
}

/* Pass the keeper's next frame on, with the id in front; returns true when it was the last one. */
static bool relay(struct keeper *keeper)
{
    char verb[32], *body;
    size_t count;
    if (!read_frame(keeper->socket, verb, &body, &count)) {
        reply_error("the keeper of this program died");
        return true;
    }
    bool last = strcmp(verb, "started") != 0;
    char *pid = strncmp(body, "pid ", 4) == 0 ? memchr(body, '\n', count) : NULL;
    body[count] = '\0';
    if (!last && pid != NULL)
        keeper->child = atoi(pid + 1);
    struct buffer out = {0};
    add_number(&out, "id", keeper->id);
    buffer_add(&out, body, count);
    reply(verb, &out);
    buffer_free(&out);
    free(body);
    return last;
}

static void do_start(const struct request *request)
{
    int ends[2];
    if (self.keeper_count == MAX_KEEPERS || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        reply_error("too many programs are running");
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        keeper_main(ends[1], request);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        reply_error("cannot fork");
        return;
    }
    struct keeper *keeper = &self.keepers[self.keeper_count++];
    *keeper = (struct keeper){.id = ++self.last_id, .pid = pid, .socket = ends[0]};
    if (relay(keeper))
        forget_keeper(keeper);
}

static bool order(struct keeper *keeper, int64_t signal)
{
    char byte = (char)signal;
    return write_all(keeper->socket, &byte, 1);
}

static void do_wait(struct keeper *keeper, int64_t timeout_ms)
{
    bool timed_out = false;
    int limit = timeout_ms <= 0 ? -1 : timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
    wait_readable(keeper->socket, limit, &timed_out);
    if (timed_out)
        order(keeper, 0);
    relay(keeper);
    forget_keeper(keeper);
}

static void do_signal(struct keeper *keeper, int64_t signal)
{
    struct buffer body = {0};
    if (signal < 1 || signal > SIGRTMAX)
        reply_error("signal: not a signal number");
    else if (!order(keeper, signal))
        reply_error("the program has ended");
    else
        reply("done", &body);
}

static int64_t status_kib(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at != NULL ? atoll(at + strlen(key)) * 1024 : 0;
}

/* Open descriptors of a process; 0 where the kernel does not let us look. */
static int64_t count_fds(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *folder = opendir(path);
    int64_t count = 0;
    for (struct dirent *entry = folder != NULL ? readdir(folder) : NULL; entry != NULL; entry = readdir(folder))
        count += entry->d_name[0] != '.';
    if (folder != NULL)
        closedir(folder);
    return count;
}

/* CPU and memory of the main process now; the parent is compared so that a reused pid is not taken for it. */
static void do_usage(const struct keeper *keeper)
{
    char path[64], stat[1024], status[4096];
    int parent = 0;
    unsigned long long user = 0, sys = 0;
    long threads = 0, tick_ns = 1000000000 / sysconf(_SC_CLK_TCK);
    snprintf(path, sizeof path, "/proc/%d/stat", (int)keeper->child);
    char *end = get_file(path, stat, sizeof stat) ? strrchr(stat, ')') : NULL;
    snprintf(path, sizeof path, "/proc/%d/status", (int)keeper->child);
    if (end == NULL || !get_file(path, status, sizeof status) ||
        sscanf(end + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %ld", &parent, &user,
               &sys, &threads) != 4 ||
        parent != keeper->pid) {
        reply_error("the program has ended");
        return;
    }
    struct buffer body = {0};
    add_number(&body, "user_ns", (int64_t)user * tick_ns);
    add_number(&body, "sys_ns", (int64_t)sys * tick_ns);
    add_number(&body, "rss_bytes", status_kib(status, "VmRSS:"));
    add_number(&body, "peak_rss_bytes", status_kib(status, "VmHWM:"));
    add_number(&body, "threads", threads);
    add_number(&body, "fds", count_fds(keeper->child));
    reply("usage", &body);
    buffer_free(&body);
}

/* Close every keeper's socket (it kills its tree then) and wait for it, but not for ever. */
static void end_keepers(void)
{
    for (int i = 0; i < self.keeper_count; i++)
        close(self.keepers[i].socket);
    int64_t deadline = now_ns() + 3LL * KILL_DEADLINE_MS * 1000000;
    for (int i = 0; i < self.keeper_count; i++)
        while (self.keepers[i].pid > 0 && waitpid(self.keepers[i].pid, NULL, WNOHANG) == 0) {
            if (now_ns() > deadline)
                kill(self.keepers[i].pid, SIGKILL);
            drain_signals(self.chld_fd);
            poll(&(struct pollfd){.fd = self.chld_fd, .events = POLLIN}, 1, KILL_PAUSE_MS);
        }
    self.keeper_count = 0;
}

static void leave(int code)
{
    end_keepers();
    kill_tree();
    drop_cgroups();
    exit(code);
}

/* ---------------------------------------------------------------- start-up and the request loop */

/* A fresh network namespace has its loopback down; server lanes need it. */
static void raise_loopback(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    if (fd < 0)
        return;
    ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
}

/* All ports of a fresh network namespace are free, and as in a container anybody may take those below 1024. */
static void open_low_ports(void)
{
    put_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"); /* where /proc is ours to write */
}

/* In a new user namespace this process keeps its own ids. */
static void map_ids(uid_t uid, gid_t gid)
{
    char text[64];
    put_file("/proc/self/setgroups", "deny");
    snprintf(text, sizeof text, "%u %u 1", uid, uid);
    put_file("/proc/self/uid_map", text);
    snprintf(text, sizeof text, "%u %u 1", gid, gid);
    put_file("/proc/self/gid_map", text);
}

/* A user namespace gives anybody the right to the others; ids stay what they are. */
static bool unshare_or_with_user(int what, bool *with_user)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    *with_user = false;
    if (unshare(what) == 0)
        return true;
    if (unshare(CLONE_NEWUSER | what) != 0)
        return false;
    map_ids(uid, gid);
    *with_user = true;
    return true;
}

/* What the first process of the new namespace does: die with its parent, and see only its own kind in /proc. */
static bool enter_own_pids(void)
{
    char link[32] = "";
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (readlink("/proc/self", link, sizeof link - 1) <= 0) /* still the /proc of outside */
        return false;
    self.outer_pid = atoi(link);
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0;
}

/* Whether this kernel lets us, found out by a child, because there is no way back from unshare; 0 or an errno. */
static int own_pids_trial(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        bool with_user;
        if (!unshare_or_with_user(CLONE_NEWPID | CLONE_NEWNS, &with_user))
            _exit(errno);
        pid_t inner = fork();
        int status = 0;
        if (inner == 0)
            _exit(enter_own_pids() ? 0 : errno);
        _exit(inner < 0 || waitpid(inner, &status, 0) != inner ? EAGAIN : WEXITSTATUS(status));
    }
    int status = 0;
    return pid < 0 || waitpid(pid, &status, 0) != pid ? EAGAIN : WEXITSTATUS(status);
}

/* The process outside: hand on the signals to end, and end as the one inside does. */
__attribute__((noreturn)) static void stand_outside(pid_t inner)
{
    sigset_t all;
    int status, number;
    sigfillset(&all);
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    while (waitpid(inner, &status, WNOHANG) != inner)
        if (sigwait(&all, &number) == 0 && number != SIGCHLD)
            kill(inner, SIGTERM);
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static void separate_pids(void)
{
    bool with_user;
    self.outer_pid = getpid();
    strcpy(self.processes, "shared");
    if (!self.want_own_pids)
        return;
    int problem = own_pids_trial();
    if (problem != 0) {
        snprintf(self.processes, sizeof self.processes, "failed-%d", problem);
        return;
    }
    if (!unshare_or_with_user(CLONE_NEWPID | CLONE_NEWNS, &with_user))
        die("unshare: %s", strerror(errno));
    pid_t inner = fork();
    if (inner < 0)
        die("fork: %s", strerror(errno));
    if (inner > 0)
        stand_outside(inner);
    if (!enter_own_pids())
        die("mount /proc: %s", strerror(errno));
    strcpy(self.processes, with_user ? "isolated-userns" : "isolated");
}

static void cut_network(void)
{
    bool with_user;
    strcpy(self.network, "host");
    if (!self.want_no_network)
        return;
    if (!unshare_or_with_user(CLONE_NEWNET, &with_user)) {
        snprintf(self.network, sizeof self.network, "failed-%d", errno);
        return;
    }
    strcpy(self.network, with_user ? "isolated-userns" : "isolated");
    raise_loopback();
    open_low_ports();
}

/* All signals are blocked and read from descriptors: no handler ever runs, least of all in a vforked child. */
static void block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
}

static void open_signals(void)
{
    sigset_t end, child;
    sigemptyset(&end);
    sigaddset(&end, SIGINT);
    sigaddset(&end, SIGTERM);
    sigaddset(&end, SIGHUP);
    sigaddset(&end, SIGQUIT);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    self.term_fd = signalfd(-1, &end, SFD_CLOEXEC | SFD_NONBLOCK);
    self.chld_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (self.term_fd < 0 || self.chld_fd < 0)
        die("signalfd: %s", strerror(errno));
}

static void reset_signals(void)
{
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL); /* what a shell or nohup ignored must not reach the lanes */
}

static void say_hello(void)
{
    char line[400];
    int n = snprintf(line, sizeof line,
                     "DEADHEAT-LAUNCHER %d pid=%d network=%s processes=%s tree=%s memory=%s pids=%s wait=%s\n",
                     PROTOCOL_VERSION, self.outer_pid, self.network, self.processes,
                     self.tree_works ? "cgroup-v2" : "proc-scan", HOW_NAMES[self.memory_how], HOW_NAMES[self.pids_how], self.have_pidfd ? "pidfd" : "sigchld");
    if (!write_all(self.reply_fd, line, (size_t)n))
        leave(0);
}

static void serve(const char *verb, char *body, size_t count)
{
    struct request r;
    bool understood = parse_request(body, count, &r);
    struct keeper *keeper = understood ? find_keeper(r.id) : NULL;
    bool starts = strcmp(verb, "run") == 0 || strcmp(verb, "start") == 0;
    bool present = true;
    if (!understood)
        reply_error(r.problem);
    else if (starts && r.arg_count == 0)
        reply_error("no arg");
    else if (strcmp(verb, "run") == 0)
        present = run_request(&r);
    else if (starts)
        do_start(&r);
    else if (keeper == NULL)
        reply_error("unknown verb or id");
    else if (strcmp(verb, "signal") == 0)
        do_signal(keeper, r.signal);
    else if (strcmp(verb, "wait") == 0)
        do_wait(keeper, r.timeout_ms);
    else if (strcmp(verb, "usage") == 0)
        do_usage(keeper);
    else
        reply_error("unknown verb or id");
    free_request(&r);
    if (!present)
        leave(0);
}

static int64_t option_number(const char *name, const char *text)
{
    int64_t value;
    if (text == NULL || !parse_number(text, &value) || value < 1)
        die("%s needs a positive number", name);
    return value;
}

/* The yardstick of what launching costs: the least that C can do, with a rest after each program as a harness makes. */
static int spawn_loop(int64_t count, const char *rest_us, char **program)
{
    int64_t rest;
    if (!parse_number(rest_us, &rest) || rest < 0 || rest > 999999)
        die("--spawn-loop needs microseconds below a second");
    const struct timespec pause = {.tv_nsec = rest * 1000};
    int64_t *wall_ns = must(calloc((size_t)count, sizeof *wall_ns));
    for (int64_t i = 0; i < count; i++) {
        char *const env[] = {NULL};
        struct rusage usage;
        pid_t pid;
        int status;
        int64_t start = now_ns();
        if (posix_spawn(&pid, program[0], NULL, NULL, program, env) != 0 || wait4(pid, &status, 0, &usage) != pid)
            die("cannot run %s", program[0]);
        wall_ns[i] = now_ns() - start;
        if (rest > 0)
            nanosleep(&pause, NULL);
    }
    for (int64_t i = 0; i < count; i++)
        printf("%lld\n", (long long)wall_ns[i]);
    free(wall_ns);
    return 0;
}

static void parse_options(int argc, char **argv)
{
    self.want_cgroup = true;
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i];
        if (strcmp(option, "--no-network") == 0)
            self.want_no_network = true;
        else if (strcmp(option, "--own-pids") == 0)
            self.want_own_pids = true;
        else if (strcmp(option, "--no-cgroup") == 0)
            self.want_cgroup = false;
        else if (strcmp(option, "--cgroup-memory") == 0)
            self.memory_bytes = option_number(option, argv[++i]);
        else if (strcmp(option, "--cgroup-pids") == 0)
            self.pids = option_number(option, argv[++i]);
        else
            die("unknown option %s (the manual is the top comment of launcher.c)", option);
    }
}

int main(int argc, char **argv)
{
    char verb[32], *body;
    size_t count;
    if (argc >= 5 && strcmp(argv[1], "--spawn-loop") == 0)
        return spawn_loop(option_number(argv[1], argv[2]), argv[3], argv + 4);
    parse_options(argc, argv);
    reset_signals();
    block_signals();
    if (self.want_cgroup)
        clear_stale();
    separate_pids();
    open_signals();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sched_getaffinity(0, sizeof self.home_cores, &self.home_cores);
    self.cores = self.home_cores;
    if (!get_file("/proc/self/oom_score_adj", self.oom_score, sizeof self.oom_score))
        self.oom_score[0] = '\0';
    self.control_fd = STDIN_FILENO;
    self.reply_fd = STDOUT_FILENO;
    self.psi_fd = open("/proc/pressure/cpu", O_RDONLY | O_CLOEXEC);
    self.stat_fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    clone_trial();
    set_up_cgroups();
    cut_network();
    say_hello();
    while (read_frame(STDIN_FILENO, verb, &body, &count)) {
        serve(verb, body, count);
        free(body);
    }
    leave(0);
}
