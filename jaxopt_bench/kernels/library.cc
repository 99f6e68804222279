// What the library says of itself.

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "GCC " __VERSION__
#else
#define COMPILER "an unknown compiler"
#endif

extern "C" const char* jaxopt_bench_source_digest() { return SOURCE_DIGEST; }

extern "C" const char* jaxopt_bench_compiler() { return COMPILER; }
