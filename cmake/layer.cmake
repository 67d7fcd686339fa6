# ft_layer(NAME DEPS a b ... [LIBS x y ...] [EXCLUDE x.cc ...])
#
# One folder of src/ = one static library ft_NAME = one namespace. DEPS lists the only folders whose
# headers it may include (tests/layers_test.cc reads these lines). Every *_test.cc beside the sources
# goes into one executable NAME_test, every *_fuzz.cc becomes a libFuzzer target of its own. EXCLUDE: files of the folder
# whose place another one takes in this build.
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

  if(BUILD_TESTING AND tests)
    add_executable(${NAME}_test ${tests})
    target_link_libraries(${NAME}_test PRIVATE ft_${NAME} GTest::gtest GTest::gtest_main)
    target_compile_definitions(${NAME}_test PRIVATE
      FUSIONTREE_TESTDATA="${CMAKE_SOURCE_DIR}/testdata" FUSIONTREE_SOURCE="${CMAKE_SOURCE_DIR}")
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
