// One version of a function for each kind of vector unit, chosen when the program runs. Loops and vector types in the function
// become that unit's own instructions. (The compiler's target_clones asks for a processor's name, not for what it can do.)
#pragma once

namespace lowrank::kernels {

enum class VectorUnit { plain, avx2, avx512 };

/// The best that this machine has.
inline VectorUnit vector_unit() {
#if defined(__x86_64__)
  static const VectorUnit unit =
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") ? VectorUnit::avx512
      : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")                                              ? VectorUnit::avx2
                                                                                                                     : VectorUnit::plain;
  return unit;
#else
  return VectorUnit::plain;
#endif
}

}  // namespace lowrank::kernels

#define LOWRANK_ALWAYS_INLINE __attribute__((always_inline)) inline

// Result name(parameters) that calls body<VectorUnit>(arguments), a template that is always inlined; so must be what it calls.
#if defined(__x86_64__)
#define LOWRANK_VECTOR_VERSIONS(Result, name, body, parameters, arguments)                                       \
  __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"))) Result name##_avx512 parameters {       \
    return body<VectorUnit::avx512> arguments;                                                                   \
  }                                                                                                              \
  __attribute__((target("avx2,fma"))) Result name##_avx2 parameters { return body<VectorUnit::avx2> arguments; } \
  Result name##_plain parameters { return body<VectorUnit::plain> arguments; }                                   \
  Result name parameters {                                                                                       \
    switch (vector_unit()) {                                                                                     \
      case VectorUnit::avx512: return name##_avx512 arguments;                                                   \
      case VectorUnit::avx2: return name##_avx2 arguments;                                                       \
      default: return name##_plain arguments;                                                                    \
    }                                                                                                            \
  }
#else
#define LOWRANK_VECTOR_VERSIONS(Result, name, body, parameters, arguments) \
  Result name parameters { return body<VectorUnit::plain> arguments; }
#endif
