// gpu_torch.c - runs bench_gpu_torch.py and keeps the times that it prints.
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/format/json.h"
#include "experiments/bench/gpu_bench.h"

static hy_status take_line(const char *line, hy_torch_times *t) {
    static const char where[] = "a line of bench_gpu_torch.py";
    hy_json *doc = NULL;
    const char *name;
    double seconds;
    HY_TRY(hy_json_parse(line, strlen(line), where, 0, &doc));
    hy_status s = hy_json_get_string(doc, where, "name", &name);
    if (!s) s = hy_json_get_double(doc, where, "seconds", 0, 1e9, &seconds);
    if (!s) {
        t->name = hy_xrealloc(t->name, (size_t)(t->n + 1) * sizeof *t->name);
        t->seconds = hy_xrealloc(t->seconds, (size_t)(t->n + 1) * sizeof *t->seconds);
        t->name[t->n] = hy_xstrdup(name);
        t->seconds[t->n++] = seconds;
    }
    hy_json_free(doc);
    return s;
}

hy_status hy_torch_times_run(const hy_gpu_bench *b, const char *what, hy_torch_times *out) {
    const char *precision = b->dtype == HY_BF16 ? "bf16" : b->math == HY_MATH_TF32 ? "tf32" : "f32";
    int fd[2];
    if (pipe(fd)) return hy_error(HY_EFAIL, "a pipe for PyTorch: %m");
    fflush(stdout);
    const pid_t pid = fork();
    if (pid < 0) return hy_error(HY_EFAIL, "a process for PyTorch: %m");
    if (pid == 0) {
        dup2(fd[1], 1);
        close(fd[0]);
        close(fd[1]);
        execlp(b->torch, b->torch, "experiments/bench/bench_gpu_torch.py", "--what", what, "--precision", precision,
               b->tiny ? "--tiny" : NULL, (char *)NULL);
        fprintf(stderr, "%s: %m\n", b->torch);
        _exit(127);
    }
    close(fd[1]);
    FILE *f = fdopen(fd[0], "r");
    char *line = NULL;
    size_t room = 0;
    hy_status s = f ? HY_OK : hy_error(HY_EFAIL, "a pipe for PyTorch: %m");
    while (!s && getline(&line, &room, f) > 0) s = take_line(line, out);
    free(line);
    if (f) fclose(f);
    int status = 0;
    waitpid(pid, &status, 0);
    if (!s && status) s = hy_error(HY_EFAIL, "bench_gpu_torch.py under %s failed; run it by hand to see why", b->torch);
    return s;
}

double hy_torch_time(const hy_torch_times *t, const char *name) {
    for (int i = 0; i < t->n; i++)
        if (!strcmp(t->name[i], name)) return t->seconds[i];
    return NAN;
}

void hy_torch_times_free(hy_torch_times *t) {
    for (int i = 0; i < t->n; i++) free(t->name[i]);
    free(t->name);
    free(t->seconds);
    *t = (hy_torch_times){0};
}
