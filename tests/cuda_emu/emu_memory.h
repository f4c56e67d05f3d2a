// emu_memory.h - see emu_memory.cc. Inside tests/cuda_emu.
#ifndef HY_EMU_MEMORY_H
#define HY_EMU_MEMORY_H
#include <cstddef>

void emu_memory_open(bool open);     // whether the device's memory can be touched; nothing changes if it is so already
void *emu_memory_new(size_t bytes);  // NULL: not that much left
bool emu_memory_delete(void *p);
size_t emu_memory_total();
size_t emu_memory_used();
void *emu_pinned_new(size_t bytes);
bool emu_pinned_delete(void *p);
bool emu_pinned(const void *p, size_t bytes);
#endif
