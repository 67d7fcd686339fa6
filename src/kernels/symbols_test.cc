// What the objects compiled for an instruction set leave to the linker: their own functions returning tables,
// and nothing else. A weak or inline symbol could be the copy the linker keeps for everybody, compiled with
// instructions this processor lacks; a libm symbol would put somebody else's rounding into a tensor (R6).
#include <gtest/gtest.h>
#include <stdio.h>

#include <set>
#include <sstream>
#include <string>

namespace fusiontree::kernels {
namespace {

struct Symbols {
  std::set<std::string> defined, undefined;
  std::string all;
};

Symbols Read(const std::string& object) {
  Symbols symbols;
  FILE* pipe = popen(("nm -g '" + object + "' 2>&1").c_str(), "r");
  char line[1024];
  while (pipe != nullptr && fgets(line, sizeof line, pipe) != nullptr) {
    symbols.all += line;
    std::istringstream words(line);
    std::string word, name, type;
    while (words >> word) {
      type = name;
      name = word;
    }
    (type == "U" ? symbols.undefined : symbols.defined).insert(name);
  }
  EXPECT_EQ(pipe == nullptr ? -1 : pclose(pipe), 0) << symbols.all;
  return symbols;
}

// Objects given by CMake: "path|path|...", all sources with flags for an instruction set, and the plain
// loops, whose table in ref.cc names the functions of the others (namespace ref).
TEST(Symbols, AnIsaObjectExportsItsTableAndCallsNoLibrary) {
  const std::string sanitizers = FUSIONTREE_SANITIZERS;
  if (!sanitizers.empty()) GTEST_SKIP() << "objects instrumented for " << sanitizers << " call their runtime";
  std::istringstream objects(FUSIONTREE_ISA_OBJECTS);
  std::string object;
  int seen = 0;
  while (std::getline(objects, object, '|')) {
    const Symbols symbols = Read(object);
    const bool ref = object.find("kernels/ref") != std::string::npos;
    if (ref) {
      EXPECT_GE(symbols.defined.size(), 1u) << object << ":\n" << symbols.all;
    } else {
      EXPECT_EQ(symbols.defined.size(), 1u) << object << ":\n" << symbols.all;
    }
    for (const std::string& name : symbols.undefined) {
      EXPECT_TRUE(name == "memcpy" || name == "memset" || name == "__stack_chk_fail" ||
                  name == "_GLOBAL_OFFSET_TABLE_" || (ref && name.starts_with("_ZN10fusiontree7kernels3ref")))
          << object << " needs " << name;
    }
    ++seen;
  }
  EXPECT_GE(seen, 3);
}

}  // namespace
}  // namespace fusiontree::kernels
