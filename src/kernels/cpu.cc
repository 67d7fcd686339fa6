#include "kernels/cpu.h"

#include <cpuid.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace fusiontree::kernels {
namespace {

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};
Registers Cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);  // all zero when the leaf is missing
  return r;
}
bool Bit(uint32_t word, int bit) { return (word >> bit & 1u) != 0; }

// XCR0: which register states the system saves at a switch.
uint64_t SavedStates() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}
constexpr uint64_t kYmm = 0x6, kZmm = 0xe6, kTiles = uint64_t{0x3} << 17;

// Linux lends the 8 KB of tile state on request only.
bool RequestTiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

Cpu Detect() {
  Cpu cpu;
  const Registers one = Cpuid(1, 0), seven = Cpuid(7, 0), more = Cpuid(7, 1);
  const bool saves = Bit(one.ecx, 27);  // OSXSAVE
  const uint64_t states = saves ? SavedStates() : 0;
  const auto saved = [&](uint64_t mask) { return (states & mask) == mask; };
  cpu.fma = saved(kYmm) && Bit(one.ecx, 28) && Bit(one.ecx, 12);
  cpu.avx2 = cpu.fma && Bit(one.ecx, 29) && Bit(seven.ebx, 5);
  cpu.avx512 = cpu.avx2 && saved(kZmm) && Bit(seven.ebx, 16) && Bit(seven.ebx, 17) && Bit(seven.ebx, 30) &&
               Bit(seven.ebx, 31);
  cpu.avx512bf16 = cpu.avx512 && Bit(more.eax, 5);
  const bool has_amx = cpu.avx512bf16 && Bit(seven.edx, 24) && Bit(seven.edx, 22);
  cpu.amx = has_amx && saved(kTiles) && RequestTiles();
  cpu.amx_refused = has_amx && !cpu.amx;
  return cpu;
}

}  // namespace

const Cpu& ThisCpu() {
  static const Cpu cpu = Detect();
  return cpu;
}

}  // namespace fusiontree::kernels
