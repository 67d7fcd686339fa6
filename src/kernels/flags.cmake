# Compile flags of the sources that are built for one instruction set. Instrumented ones compile in seconds instead of
# minutes without the checks of addresses that AddressSanitizer makes anyway; ref has them all.
set(simd)
if(FUSIONTREE_SANITIZE MATCHES undefined)
  list(APPEND simd -fno-sanitize=pointer-overflow,alignment,null$<$<CXX_COMPILER_ID:Clang>:,object-size>)
endif()
if(FUSIONTREE_FUZZ)
  list(APPEND simd -fno-sanitize=fuzzer-no-link)
endif()
set_source_files_properties(kernels/ref.cc kernels/ref_sequence.cc kernels/ref_backward.cc PROPERTIES COMPILE_OPTIONS "-mfma")
set_source_files_properties(kernels/avx2.cc PROPERTIES COMPILE_OPTIONS "${simd};-mavx2;-mfma;-mf16c")
# GCC 12 warns of its own AVX-512 header (_mm512_undefined_*).
set(avx512 ${simd} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized> $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
set_source_files_properties(kernels/avx512.cc PROPERTIES COMPILE_OPTIONS "${avx512}")
set_source_files_properties(kernels/avx512bf16.cc PROPERTIES COMPILE_OPTIONS "${avx512};-mavx512bf16")
set_source_files_properties(kernels/amx.cc PROPERTIES COMPILE_OPTIONS "${avx512};-mamx-tile;-mamx-bf16")
# The same text with its AVX-512 and AMX intrinsics emulated, for tests.
set_source_files_properties(kernels/avx512_emulated_test.cc kernels/avx512bf16_emulated_test.cc kernels/amx_emulated_test.cc
  kernels/emulate_test.cc PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c;-O2;-Wno-psabi")
# symbols_test reads the objects of every source of kernels that has flags of its own.
if(BUILD_TESTING AND TARGET kernels_test)
  set(isa_sources ref ref_sequence ref_backward avx2 avx512 avx512bf16 amx)
  list(TRANSFORM isa_sources PREPEND "$<TARGET_FILE_DIR:ft_kernels>/CMakeFiles/ft_kernels.dir/kernels/")
  list(TRANSFORM isa_sources APPEND ".cc${CMAKE_CXX_OUTPUT_EXTENSION}")
  list(JOIN isa_sources "|" isa_objects)
  set_property(SOURCE kernels/symbols_test.cc APPEND PROPERTY COMPILE_DEFINITIONS
    "FUSIONTREE_ISA_OBJECTS=\"${isa_objects}\"" "FUSIONTREE_SANITIZERS=\"${FUSIONTREE_SANITIZE}\"")
endif()
