# Runs one libFuzzer target for FUZZ_SECONDS (30) on a scratch copy of its committed corpus.
if(NOT DEFINED FUZZ_SECONDS)
  set(FUZZ_SECONDS 30)
endif()
get_filename_component(name ${FUZZER} NAME)
set(scratch ${CMAKE_CURRENT_BINARY_DIR}/fuzz-${name})
file(REMOVE_RECURSE ${scratch})
file(MAKE_DIRECTORY ${scratch})
execute_process(
  COMMAND ${FUZZER} -max_total_time=${FUZZ_SECONDS} -timeout=10 -rss_limit_mb=2048 -max_len=65536
          -print_final_stats=1 -artifact_prefix=${scratch}/ ${scratch} ${CORPUS}
  RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
string(REGEX MATCHALL "[^\n]*(stat::|ERROR|SUMMARY|runtime error)[^\n]*" shown "${output}")
string(REPLACE ";" "\n" shown "${shown}")
message("${shown}")
if(NOT code EQUAL 0)
  message(FATAL_ERROR "${name} failed (${code}):\n${output}")
endif()
