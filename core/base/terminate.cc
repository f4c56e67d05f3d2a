// terminate.cc - see memory.h. C++ because std::bad_alloc is.
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <new>

#include "core/base/memory.h"

static void on_terminate() {
    try {
        if (std::current_exception()) throw;
    } catch (const std::bad_alloc &) {
        static const char text[] = "hylab: out of memory\n";
        const ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
        (void)written;
        _exit(1);  // whoever threw holds what it holds: nothing of it is run again
    } catch (...) {
    }
    std::abort();
}

void hy_catch_no_memory(void) { std::set_terminate(on_terminate); }
