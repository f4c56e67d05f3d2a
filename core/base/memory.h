// memory.h - how much memory there is, and what is done where a small block is not there: the program ends with a
// message.
#ifndef HY_MEMORY_H
#define HY_MEMORY_H
#ifdef __cplusplus
extern "C" {
#endif
double hy_memory_physical(void);  // bytes that this machine has; 0: not known
// "hylab: out of memory", exit status 1. For libraries that return NULL for nothing else.
void hy_no_memory(void) __attribute__((noreturn));
// From now on so does a C++ library that finds none and throws through our C, instead of a crash. For main.
void hy_catch_no_memory(void);
#ifdef __cplusplus
}
#endif
#endif
