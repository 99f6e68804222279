// Compiles a function for several instruction sets. The processor's own is chosen when the library is loaded.

#ifndef JAXOPT_BENCH_KERNELS_CLONES_H_
#define JAXOPT_BENCH_KERNELS_CLONES_H_

#if defined(__x86_64__) && defined(__gnu_linux__)
#define JAXOPT_BENCH_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define JAXOPT_BENCH_CLONES
#endif

#endif  // JAXOPT_BENCH_KERNELS_CLONES_H_
