/* Starts other programs: as children (vfork, posix_spawn, system, popen) and in its own place. */
#define _GNU_SOURCE
#include "show.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int wait_for(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}

static void show_end(const char *what, int status) {
    if (WIFSIGNALED(status))
        printf("%s: signal %d\n", what, WTERMSIG(status));
    else
        printf("%s: status %d\n", what, WEXITSTATUS(status));
}

static pid_t spawn(const char *script) {
    pid_t pid = 0;
    char *arguments[] = {"sh", "-c", (char *)script, NULL};
    SHOW(posix_spawnp(&pid, "sh", NULL, NULL, arguments, environ));
    return pid;
}

static void run_system(void) {
    SHOW(system(NULL) != 0);
    SHOW(system("echo from the shell; exit 3"));
    SHOW(system("kill -9 $$"));
    SHOW(system("no-such-program 2>/dev/null"));
}

static void run_popen(void) {
    char line[64] = "";
    FILE *reads = popen("echo a b c; exit 7", "r");
    fgets(line, sizeof line, reads);
    printf("read: %s", line);
    SHOW(pclose(reads));
    FILE *writes = popen("tr a-z A-Z", "w");
    fputs("written\n", writes);
    SHOW(pclose(writes));
}

static void run_spawn(void) {
    show_end("exit", wait_for(spawn("exit 5")));
    show_end("kill", wait_for(spawn("kill -TERM $$")));
    pid_t pid;
    char *arguments[] = {"program", NULL};
    SHOW(posix_spawn(&pid, "/no/such/program", NULL, NULL, arguments, environ) == ENOENT);
    SHOW(posix_spawn(&pid, "/etc/passwd", NULL, NULL, arguments, environ) == EACCES);
    SHOW(waitpid(-1, NULL, 0));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "spawned", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_addclose(&actions, 0);
    posix_spawn_file_actions_addchdir_np(&actions, "/");
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    posix_spawnattr_setsigmask(&attributes, &mask);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    char *script[] = {"sh", "-c", "pwd; ls -l /proc/self/fd/0 2>&1 | grep -c /fd/0; grep SigBlk /proc/self/status", NULL};
    SHOW(posix_spawnp(&pid, "sh", &actions, &attributes, script, environ));
    show_end("with actions", wait_for(pid));
    char text[256] = "";
    int fd = open("spawned", O_RDONLY);
    SHOW(read(fd, text, sizeof text - 1));
    fputs(text, stdout);
    SHOW(fcntl(0, F_GETFD) >= 0);
}

/* What the child does of its own does not change the parent, what it does to memory does. */
static volatile int shared;

static void ignore(int signal) {
    (void)signal;
}

static void run_vfork(void) {
    struct sigaction action = {.sa_handler = ignore}, now;
    sigaction(SIGUSR1, &action, NULL);
    pid_t parent = getpid();
    int fds[2];
    SHOW(pipe(fds));
    pid_t pid = vfork();
    if (pid == 0) {
        shared = 1;
        shared += getppid() == parent && getpid() != parent ? 2 : 0;
        close(fds[0]);
        dup2(fds[1], 100);
        action.sa_handler = SIG_IGN;
        sigaction(SIGUSR1, &action, NULL);
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
        shared += chdir("/") == 0 ? 4 : 0;
        umask(077);
        _exit(9);
    }
    show_end("exit", wait_for(pid));
    SHOW(shared);
    SHOW(fcntl(fds[0], F_GETFD));
    SHOW(fcntl(100, F_GETFD));
    sigaction(SIGUSR1, NULL, &now);
    SHOW(now.sa_handler == ignore);
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    SHOW(sigismember(&mask, SIGINT));
    char *here = getcwd(NULL, 0);
    SHOW(strcmp(here, "/") != 0);
    SHOW(umask(022));
    if ((pid = vfork()) == 0)
        abort();
    show_end("abort", wait_for(pid));
    if ((pid = vfork()) == 0) {
        volatile int *volatile nowhere = NULL;
        *nowhere = 1;
    }
    show_end("fault", wait_for(pid));
    if ((pid = vfork()) == 0) {
        execl("/no/such/program", "program", NULL);
        shared = errno;
        execlp("sh", "sh", "-c", "exit 4", NULL);
        _exit(1);
    }
    show_end("second try", wait_for(pid));
    SHOW(shared == ENOENT);
}

static volatile sig_atomic_t ended, ended_pid, ended_status, ended_code;

/* Who a child is and where it runs is its own business; of its parent nothing changes. */
static void run_apart(void) {
    cpu_set_t before, childs, one, after;
    SHOW(sched_getaffinity(0, sizeof before, &before) == 0);
    int root = getuid() == 0;
    pid_t pid = vfork();
    if (pid == 0) {
        gid_t groups[] = {5, 7};
        /* Where it may run need not be where its parent does. */
        CPU_ZERO(&childs);
        sched_getaffinity(0, sizeof childs, &childs);
        CPU_ZERO(&one);
        for (int cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
            if (CPU_ISSET(cpu, &childs))
                CPU_SET(cpu, &one);
        shared = sched_setaffinity(0, sizeof one, &one) == 0;
        shared += syscall(SYS_setgroups, 2, groups) == (root ? 0 : -1) ? 2 : 0;
        shared += syscall(SYS_setresgid, 11, 12, 12) == (root ? 0 : -1) ? 4 : 0;
        shared += syscall(SYS_setuid, 13) == (root ? 0 : -1) ? 8 : 0;
        shared += !root || (getuid() == 13 && geteuid() == 13 && getgid() == 11 && getegid() == 12) ? 16 : 0;
        shared += syscall(SYS_setuid, 0) == -1 ? 32 : 0;
        execlp("sh", "sh", "-c", "nproc; [ $PPID != 0 ] && id -u && id -g && id -G", NULL);
        _exit(1);
    }
    show_end("child", wait_for(pid));
    SHOW(shared);
    SHOW((getuid() == 0) == root);
    SHOW(sched_getaffinity(0, sizeof after, &after) == 0 && CPU_EQUAL(&before, &after));
}

/* What is set of a child by prctl is the child's. */
static void run_options(void) {
    int mine = -1;
    pid_t pid = vfork();
    if (pid == 0) {
        shared = prctl(PR_SET_PDEATHSIG, SIGUSR2) == 0;
        shared += prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 2 : 0;
        execl("/proc/self/exe", "children", "inherited", NULL);
        _exit(1);
    }
    show_end("child", wait_for(pid));
    SHOW(shared);
    SHOW(prctl(PR_GET_PDEATHSIG, &mine));
    SHOW(mine);
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_THP_DISABLE, 0, 1, 0, 0));
}

static void run_inherited(void) {
    int death = -1;
    SHOW(prctl(PR_GET_PDEATHSIG, &death));
    SHOW(death);
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

/* The class and the cores of processes of Linux. */
static void run_others(void) {
    char *arguments[] = {"sleep", "1000", NULL};
    pid_t pid;
    SHOW(posix_spawnp(&pid, "sleep", NULL, NULL, arguments, environ));
    struct sched_param parameter = {1};
    cpu_set_t cores, one;
    SHOW(sched_getscheduler(getppid()));
    SHOW(sched_getscheduler(pid));
    SHOW(sched_getparam(pid, &parameter));
    SHOW(parameter.sched_priority);
    SHOW(sched_getaffinity(pid, sizeof cores, &cores) == 0 && CPU_COUNT(&cores) > 0);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
        if (CPU_ISSET(cpu, &cores))
            CPU_SET(cpu, &one);
    SHOW(sched_setaffinity(pid, sizeof one, &one));
    SHOW(sched_getaffinity(pid, sizeof cores, &cores) == 0 && CPU_EQUAL(&cores, &one));
    SHOW(sched_setscheduler(pid, SCHED_BATCH, &(struct sched_param){0}));
    SHOW(sched_getscheduler(pid));
    SHOW(sched_getscheduler(0));
    SHOW(sched_setscheduler(pid, SCHED_BATCH, NULL));
    SHOW(sched_getparam(pid, (void *)8));
    kill(pid, SIGKILL);
    show_end("sleep", wait_for(pid));
    SHOW(sched_getscheduler(pid));
    SHOW(sched_getaffinity(pid, sizeof cores, &cores));
}

static void note_end(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    ended_pid = info->si_pid;
    ended_status = info->si_status;
    ended_code = info->si_code;
    ended++;
}

static void run_sigchld(void) {
    struct sigaction action = {.sa_sigaction = note_end, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGCHLD, &action, NULL);
    sigset_t blocked, old;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, &old);
    pid_t pid = spawn("exit 6");
    while (!ended)
        sigsuspend(&old);
    SHOW(ended_pid == pid);
    SHOW(ended_code == CLD_EXITED);
    SHOW(ended_status);
    siginfo_t info;
    SHOW(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    SHOW(info.si_status);
    show_end("reaped", wait_for(pid));
    SHOW(waitpid(pid, NULL, 0));
}

static void run_wait(void) {
    int status;
    siginfo_t info;
    struct rusage usage;
    SHOW(wait(NULL));
    SHOW(waitid(P_ALL, 0, &info, WEXITED));
    SHOW(waitid(P_ALL, 0, &info, 0));
    SHOW(waitpid(-1, &status, 0x1000));
    pid_t slow = spawn("exec sleep 100"), quick = spawn("exit 2");
    SHOW(waitpid(slow, &status, WNOHANG));
    SHOW(wait(&status) == quick);
    show_end("first", status);
    memset(&info, 1, sizeof info);
    SHOW(waitid(P_PID, slow, &info, WEXITED | WNOHANG));
    SHOW(info.si_pid);
    SHOW(kill(slow, SIGSTOP));
    SHOW(waitpid(slow, &status, WUNTRACED) == slow);
    SHOW(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    SHOW(kill(slow, SIGCONT));
    SHOW(waitpid(slow, &status, WCONTINUED) == slow);
    SHOW(WIFCONTINUED(status));
    SHOW(kill(slow, SIGTERM));
    SHOW(wait4(slow, &status, 0, &usage) == slow);
    show_end("second", status);
    SHOW(usage.ru_maxrss > 0);
    SHOW(wait(&status));
    SHOW(wait4(-1, (int *)8, 0, NULL));
    quick = spawn("exit 0");
    int fd = syscall(SYS_pidfd_open, quick, 0);
    SHOW(waitid(3 /* P_PIDFD */, fd, &info, WEXITED));
    SHOW(info.si_pid == quick);
}

/* Children that nobody waits for, by the parent's own word. */
static void run_vanish(void) {
    extern char **environ;
    char *ends[] = {"sh", "-c", "exit 3", NULL}, *stays[] = {"sh", "-c", "kill -STOP $$; exit 4", NULL};
    struct sigaction plain = {.sa_handler = SIG_DFL}, none = {.sa_handler = SIG_IGN},
                     without = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    const struct sigaction *ways[] = {&none, &without, &plain};
    for (int way = 0; way < 3; way++) {
        pid_t child;
        int status = 0;
        siginfo_t info = {0};
        sigaction(SIGCHLD, ways[way], NULL);
        CHECK(posix_spawn(&child, "/bin/sh", NULL, NULL, ends, environ) == 0);
        SHOW(waitpid(child, &status, 0) > 0);
        SHOW(status);
        CHECK(posix_spawn(&child, "/bin/sh", NULL, NULL, ends, environ) == 0);
        SHOW(waitid(P_PID, (id_t)child, &info, WEXITED));
        SHOW(info.si_status);
        SHOW(wait(NULL));
        CHECK(posix_spawn(&child, "/bin/sh", NULL, NULL, stays, environ) == 0);
        SHOW(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
        kill(child, SIGCONT);
        SHOW(waitpid(child, &status, 0) == child);
    }
    /* What has ended before the word was given is judged by the word before. */
    for (int way = 0; way < 2; way++) {
        pid_t before, after;
        int status = 0;
        siginfo_t info;
        CHECK(posix_spawn(&before, "/bin/sh", NULL, NULL, ends, environ) == 0);
        SHOW(waitid(P_PID, (id_t)before, &info, WEXITED | WNOWAIT));
        sigaction(SIGCHLD, ways[way], NULL);
        CHECK(posix_spawn(&after, "/bin/sh", NULL, NULL, ends, environ) == 0);
        SHOW(waitpid(before, &status, 0) == before);
        SHOW(status);
        while (kill(after, 0) == 0 && waitpid(after, &status, WNOHANG) == 0)
            usleep(1000);
        sigaction(SIGCHLD, &plain, NULL);
        SHOW(waitpid(after, &status, 0));
    }
}

static void run_usage(void) {
    struct rusage usage;
    struct tms times_before, times_after;
    SHOW(getrusage(RUSAGE_CHILDREN, &usage));
    SHOW(usage.ru_utime.tv_sec == 0 && usage.ru_utime.tv_usec == 0);
    times(&times_before);
    show_end("work", wait_for(spawn("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")));
    SHOW(getrusage(RUSAGE_CHILDREN, &usage));
    SHOW(usage.ru_utime.tv_sec > 0 || usage.ru_utime.tv_usec > 20000);
    SHOW(usage.ru_maxrss > 0);
    times(&times_after);
    SHOW(times_after.tms_cutime > times_before.tms_cutime);
    SHOW(getrusage(RUSAGE_SELF, &usage));
}

/* A signal ends the wait for a child that does not end. */
static void run_interrupted(void) {
    struct sigaction action = {.sa_handler = ignore};
    sigaction(SIGALRM, &action, NULL);
    pid_t pid = spawn("exec sleep 100");
    alarm(1);
    SHOW(waitpid(pid, NULL, 0));
    kill(pid, SIGKILL);
    show_end("killed", wait_for(pid));
}

/* Several threads start children at once. */
static void *several(void *argument) {
    int *right = argument;
    for (int i = 0; i < 5; i++) {
        char *script[] = {"sh", "-c", "exit $0", (char[]){(char)('1' + i), 0}, NULL};
        pid_t pid;
        if (posix_spawnp(&pid, "sh", NULL, NULL, script, environ) == 0)
            *right += WEXITSTATUS(wait_for(pid)) == i + 1;
    }
    return NULL;
}

static void run_threads(void) {
    pthread_t threads[3];
    int right[3] = {0};
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, several, &right[i]);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    SHOW(right[0] + right[1] + right[2]);
}

/* The program is replaced: what stays and what goes is printed by this program itself, in its new life. */
static void again(const char *how) {
    struct sigaction now;
    printf("%s\n", how);
    SHOW(fcntl(50, F_GETFD));
    SHOW(fcntl(51, F_GETFD));
    sigaction(SIGUSR1, NULL, &now);
    SHOW(now.sa_handler == SIG_DFL);
    sigaction(SIGUSR2, NULL, &now);
    SHOW(now.sa_handler == SIG_IGN);
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    SHOW(sigismember(&mask, SIGHUP));
    SHOW(sigismember(&mask, SIGINT));
    stack_t stack;
    sigaltstack(NULL, &stack);
    SHOW(stack.ss_flags == SS_DISABLE);
    printf("%s\n", getenv("KEPT"));
    SHOW(getenv("HOME") == NULL);
    SHOW(getpid() == atoi(getenv("WAS")));
    SHOW(syscall(SYS_gettid) == getpid());
    char target[4096] = "", name[64] = "";
    SHOW(readlink("/proc/self/exe", target, sizeof target - 1) > 0);
    printf("%s\n", strrchr(target, '/'));
    int fd = open("/proc/self/comm", O_RDONLY);
    SHOW(read(fd, name, sizeof name - 1));
    fputs(name, stdout);
    char *memory = malloc(1 << 22);
    fill(memory, 1 << 22);
    SHOW(is_filled(memory, 1 << 22));
}

static void become(const char *how) {
    char was[32], *arguments[] = {"children", "again", (char *)how, NULL};
    snprintf(was, sizeof was, "WAS=%d", getpid());
    char *environment[] = {"KEPT=a value", was, NULL};
    struct sigaction action = {.sa_handler = ignore};
    sigaction(SIGUSR1, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGUSR2, &action, NULL);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGHUP);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    stack_t stack = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
    sigaltstack(&stack, NULL);
    int fd = open("/dev/null", O_RDONLY);
    dup2(fd, 50);
    dup3(fd, 51, O_CLOEXEC);
    fflush(stdout);
    execve("/proc/self/exe", arguments, environment);
    SHOW(errno);
}

static void run_exec(void) {
    become("from the only thread");
}

static void *compute(void *argument) {
    pthread_barrier_wait(argument);
    for (;;)
        shared++;
}

static void *sleep_for_ever(void *argument) {
    pthread_barrier_wait(argument);
    for (;;)
        pause();
}

static void *read_for_ever(void *argument) {
    int fds[2];
    char byte;
    if (pipe(fds))
        return NULL;
    pthread_barrier_wait(argument);
    read(fds[0], &byte, 1);
    return NULL;
}

static void *become_thread(void *argument) {
    pthread_barrier_wait(argument);
    become("from a thread");
    return NULL;
}

static void start_threads(void *(*last)(void *)) {
    void *(*bodies[])(void *) = {compute, sleep_for_ever, read_for_ever, last};
    static pthread_barrier_t barrier;
    pthread_t thread;
    int count = last ? 4 : 3;
    pthread_barrier_init(&barrier, NULL, count + 1);
    for (int i = 0; i < count; i++)
        pthread_create(&thread, NULL, bodies[i], &barrier);
    pthread_barrier_wait(&barrier);
}

static void run_exec_threads(void) {
    start_threads(NULL);
    become("beside threads");
}

static void run_exec_thread(void) {
    start_threads(become_thread);
    for (;;)
        pause();
}

static void write_file(const char *path, const char *text, int mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (write(fd, text, strlen(text)) < 0)
        perror(path);
    fchmod(fd, mode);
    close(fd);
}

static void run_exec_errors(void) {
    char *arguments[] = {"x", NULL}, *none[] = {NULL};
    SHOW(execve("/no/such/program", arguments, none));
    SHOW(execve("", arguments, none));
    SHOW(execve("/", arguments, none));
    SHOW(execve("/dev/null", arguments, none));
    SHOW(execve("/etc/passwd", arguments, none));
    SHOW(execve("/etc/passwd/x", arguments, none));
    write_file("text", "just text\n", 0755);
    SHOW(execve("text", arguments, none));
    write_file("orphan", "#!/no/such/interpreter\n", 0755);
    SHOW(execve("orphan", arguments, none));
    SHOW(execve(NULL, arguments, none));
    SHOW(execve("/bin/true", (char **)8, none));
    SHOW(execve("/bin/true", (char *[]){(char *)8, NULL}, none));
    SHOW(execve("/bin/true", arguments, (char **)8));
    char *large = malloc(200000);
    memset(large, 'a', 199999);
    large[199999] = 0;
    SHOW(execve("/bin/true", (char *[]){"true", large, NULL}, none));
    char path[5000];
    memset(path, 'b', sizeof path - 1);
    path[sizeof path - 1] = 0;
    SHOW(execve(path, arguments, none));
    SHOW(syscall(SYS_execveat, -1, "x", arguments, none, 0));
    SHOW(syscall(SYS_execveat, AT_FDCWD, "/bin/true", arguments, none, 0x4000));
    SHOW(syscall(SYS_execveat, AT_FDCWD, "", arguments, none, 0));
    puts("still here");
}

static void run_exec_script(void) {
    write_file("script", "#!/bin/sh -u\necho \"$0\" \"$@\"\nexit 7\n", 0755);
    fflush(stdout);
    execl("./script", "ignored", "one", "two words", NULL);
    perror("execl");
}

static void run_exec_descriptor(void) {
    int fd = open("/bin/echo", O_RDONLY | O_CLOEXEC);
    char *arguments[] = {"echo", "by", "descriptor", NULL};
    fflush(stdout);
    fexecve(fd, arguments, environ);
    perror("fexecve");
}

static void run_copy(void) {
    SHOW(fork());
    SHOW(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

int main(int argc, char **argv) {
    const struct section sections[] = {
        {"system", run_system},
        {"popen", run_popen},
        {"spawn", run_spawn},
        {"vfork", run_vfork},
        {"apart", run_apart},
        {"others", run_others},
        {"options", run_options},
        {"inherited", run_inherited},
        {"sigchld", run_sigchld},
        {"wait", run_wait}, {"vanish", run_vanish},
        {"usage", run_usage},
        {"interrupted", run_interrupted},
        {"threads", run_threads},
        {"exec", run_exec},
        {"exec_threads", run_exec_threads},
        {"exec_thread", run_exec_thread},
        {"exec_errors", run_exec_errors},
        {"exec_script", run_exec_script},
        {"exec_descriptor", run_exec_descriptor},
        {"copy", run_copy},
        {0},
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 2 && !strcmp(argv[1], "again")) {
        again(argv[2]);
        puts("end");
        return 0;
    }
    return run_section(argc, argv, sections);
}
