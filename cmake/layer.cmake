# ft_layer(NAME DEPS a b ... [LIBS x y ...] [EXCLUDE x.cc ...])
#
# One folder of src/ = one static library ft_NAME = one namespace. DEPS lists the only folders whose
# headers it may include (tests/layers_test.cc reads these lines). Every *_test.cc beside the sources
# goes into one executable NAME_test, every *_fuzz.cc becomes a libFuzzer target of its own. EXCLUDE: files of the folder
# whose place another one takes in this build.
# Tests read heavy headers once for all and are not optimised themselves: what they call is. With FUSIONTREE_QUICK, for the
# instrumented builds, libraries read them once too, and tests are not counted for fuzzing. The release build, without, sees
# that every file of a library includes what it uses.
set(ft_test_options -O0)
if(FUSIONTREE_FUZZ)
  list(APPEND ft_test_options -fno-sanitize=fuzzer-no-link)
endif()

function(ft_make_precompiled KIND)
  file(WRITE ${CMAKE_BINARY_DIR}/pch.cc "")
  add_library(ft_pch_${KIND} OBJECT ${CMAKE_BINARY_DIR}/pch.cc)
  target_link_libraries(ft_pch_${KIND} PRIVATE fmt::fmt nlohmann_json::nlohmann_json Threads::Threads)
  target_precompile_headers(ft_pch_${KIND} PRIVATE <algorithm> <functional> <map> <memory> <optional> <string> <string_view>
    <vector> <fmt/format.h> <nlohmann/json.hpp>)
  if(KIND STREQUAL test)
    target_link_libraries(ft_pch_test PRIVATE GTest::gtest GTest::gtest_main)
    target_precompile_headers(ft_pch_test PRIVATE <gtest/gtest.h>)
    target_compile_options(ft_pch_test PRIVATE ${ft_test_options})
  endif()
endfunction()

# KIND: library or test.
function(ft_quick TARGET KIND)
  if(KIND STREQUAL library AND NOT FUSIONTREE_QUICK)
    return()
  endif()
  if(NOT TARGET ft_pch_${KIND})
    ft_make_precompiled(${KIND})
  endif()
  target_precompile_headers(${TARGET} REUSE_FROM ft_pch_${KIND})
  if(KIND STREQUAL test)
    target_compile_options(${TARGET} PRIVATE ${ft_test_options})
  endif()
endfunction()

function(ft_layer NAME)
  cmake_parse_arguments(LAYER "" "" "DEPS;LIBS;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${NAME}/*.cc)
  foreach(excluded ${LAYER_EXCLUDE})
    list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/${NAME}/${excluded})
  endforeach()
  set(tests ${sources})
  set(fuzzers ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz)\\.cc$")
  list(FILTER sources EXCLUDE REGEX "/main\\.cc$")

  set(libraries ${LAYER_LIBS})
  foreach(dep ${LAYER_DEPS})
    list(APPEND libraries ft_${dep})
  endforeach()
  if(NOT sources)
    add_library(ft_${NAME} INTERFACE)
    target_include_directories(ft_${NAME} INTERFACE ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(ft_${NAME} INTERFACE ${libraries})
    return()
  endif()
  add_library(ft_${NAME} STATIC ${sources})
  target_include_directories(ft_${NAME} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(ft_${NAME} PUBLIC ${libraries})
  if(NOT NAME STREQUAL kernels)
    ft_quick(ft_${NAME} library)
  endif()

  if(BUILD_TESTING AND tests)
    add_executable(${NAME}_test ${tests})
    target_link_libraries(${NAME}_test PRIVATE ft_${NAME} GTest::gtest GTest::gtest_main)
    target_compile_definitions(${NAME}_test PRIVATE
      FUSIONTREE_TESTDATA="${CMAKE_SOURCE_DIR}/testdata" FUSIONTREE_SOURCE="${CMAKE_SOURCE_DIR}")
    # The plain loops that kernels are compared with are the tests' own code.
    if(NOT NAME STREQUAL kernels)
      ft_quick(${NAME}_test test)
    endif()
    add_test(NAME ${NAME} COMMAND ${NAME}_test)
  endif()
  if(FUSIONTREE_FUZZ)
    foreach(fuzzer ${fuzzers})
      get_filename_component(fuzz_name ${fuzzer} NAME_WE)
      add_executable(${fuzz_name} ${fuzzer})
      target_link_libraries(${fuzz_name} PRIVATE ft_${NAME})
      target_link_options(${fuzz_name} PRIVATE -fsanitize=fuzzer)
      add_test(NAME ${fuzz_name} COMMAND ${CMAKE_COMMAND} -D FUZZER=$<TARGET_FILE:${fuzz_name}>
        -D CORPUS=${CMAKE_SOURCE_DIR}/testdata/fuzz/${fuzz_name}
        -P ${CMAKE_SOURCE_DIR}/cmake/run_fuzzer.cmake)
    endforeach()
  endif()
endfunction()
