// The rules of the house, read from the files themselves: who includes whom, what ARCHITECTURE.md names, and
// that the README shows no command or flag that does not exist.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace fusiontree {
namespace {

namespace fs = std::filesystem;
const fs::path kSource = FUSIONTREE_SOURCE;

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// The ft_layer lines of src/CMakeLists.txt in their order: a folder, and the folders it may include.
std::vector<std::pair<std::string, std::set<std::string>>> LayerLines() {
  std::vector<std::pair<std::string, std::set<std::string>>> lines;
  const std::string text = Read(kSource / "src/CMakeLists.txt");
  const std::regex line(R"(ft_layer\((\w+)\s+DEPS\b([^)]*)\))");
  for (std::sregex_iterator it(text.begin(), text.end(), line), end; it != end; ++it) {
    std::istringstream words((*it)[2].str());
    std::set<std::string> deps;
    for (std::string word; words >> word && word != "LIBS" && word != "EXCLUDE";) deps.insert(word);
    lines.emplace_back((*it)[1], std::move(deps));
  }
  return lines;
}

std::map<std::string, std::set<std::string>> Layers() {
  const auto lines = LayerLines();
  return {lines.begin(), lines.end()};
}

TEST(Layers, EveryFolderOfSourcesIsALayer) {
  const auto layers = Layers();
  EXPECT_GE(layers.size(), 10u);
  for (const fs::directory_entry& entry : fs::directory_iterator(kSource / "src")) {
    if (!entry.is_directory() || fs::is_empty(entry.path())) continue;
    EXPECT_TRUE(layers.count(entry.path().filename())) << entry.path() << " has no ft_layer line";
  }
}

TEST(Layers, NobodyIncludesWhatItsLineDoesNotList) {
  const auto layers = Layers();
  const std::regex include(R"re(^\s*#\s*include\s+"([^"]+)")re");
  int includes = 0;
  for (const auto& [name, deps] : layers) {
    if (!fs::exists(kSource / "src" / name)) continue;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(kSource / "src" / name)) {
      const std::string extension = entry.path().extension();
      if (extension != ".h" && extension != ".cc" && extension != ".inc") continue;
      std::ifstream file(entry.path());
      std::smatch match;
      for (std::string line; std::getline(file, line);) {
        if (!std::regex_search(line, match, include)) continue;
        const std::string target = match[1];
        const std::string folder = target.substr(0, target.find('/'));
        ++includes;
        EXPECT_TRUE(fs::exists(kSource / "src" / target)) << entry.path() << " includes " << target;
        EXPECT_TRUE(folder == name || deps.count(folder))
            << entry.path() << " includes " << target << ", but " << name << " may not know " << folder;
      }
    }
  }
  EXPECT_GT(includes, 100);
}

TEST(Layers, TheLinesFormNoCircle) {
  // Lines are written lowest first: a layer lists only those above its own line.
  std::set<std::string> seen;
  for (const auto& [name, deps] : LayerLines()) {
    for (const std::string& dep : deps)
      EXPECT_TRUE(seen.count(dep)) << name << " lists " << dep << " before it is a layer";
    seen.insert(name);
  }
}

TEST(Architecture, NamesEveryFolderAndIsShort) {
  const std::string text = Read(kSource / "ARCHITECTURE.md");
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 150);
  for (const auto& [name, deps] : Layers())
    EXPECT_NE(text.find("| `" + name + "` |"), std::string::npos)
        << "ARCHITECTURE.md does not name src/" << name;
  for (const char* folder : {"tests", "bench", "tools", "testdata", "docs", "cmake"})
    EXPECT_NE(text.find("`" + std::string(folder) + "/`"), std::string::npos) << folder;
  // What it links to exists.
  const std::regex link(R"(\]\(([^)#:]+)\))");
  for (std::sregex_iterator it(text.begin(), text.end(), link), end; it != end; ++it)
    EXPECT_TRUE(fs::exists(kSource / (*it)[1].str())) << (*it)[1];
}

std::string HelpOf(const std::string& arguments) {
  const std::string command = std::string(FUSIONTREE_BINARY) + " " + arguments + " --help 2>&1";
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer;
  for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) text.append(buffer.data(), n);
  EXPECT_EQ(pclose(pipe), 0) << command << "\n" << text;
  return text;
}

// "generate", "tokenizer encode", ... as the program's own help lists them.
std::vector<std::string> Commands() {
  std::vector<std::string> names;
  std::istringstream help(HelpOf(""));
  const std::regex entry(R"(^  ([a-z]+( [a-z]+)?)  +\S)");
  std::smatch match;
  for (std::string line; std::getline(help, line);)
    if (std::regex_search(line, match, entry)) names.push_back(match[1]);
  EXPECT_GE(names.size(), 9u);
  return names;
}

TEST(Readme, EveryCommandAndFlagExists) {
  const std::vector<std::string> commands = Commands();
  std::map<std::string, std::string> helps;
  std::string all_helps;
  for (const std::string& command : commands) all_helps += helps[command] = HelpOf(command);
  const std::string readme = Read(kSource / "README.md");
  for (const std::string& command : commands)
    EXPECT_NE(readme.find("`" + command), std::string::npos) << "README.md does not show " << command;
  // In a line that calls the program the flags are that command's; elsewhere they are some command's or a
  // script's.
  const std::string scripts = Read(kSource / "setup.sh") + Read(kSource / "test.sh");
  const std::regex flag(R"((^|[\s`(\[|])(--[a-z][a-z0-9-]*))");
  int flags = 0;
  std::istringstream lines(readme);
  for (std::string line; std::getline(lines, line);) {
    std::string own;
    for (const std::string& command : commands)
      if (line.find("fusiontree " + command + " ") != std::string::npos) own = helps[command];
    for (std::sregex_iterator it(line.begin(), line.end(), flag), end; it != end; ++it) {
      ++flags;
      const std::string name = (*it)[2];
      const std::regex whole(name + R"(($|[\s,]))");
      if (!own.empty()) {
        EXPECT_TRUE(std::regex_search(own, whole)) << line << ": no flag " << name;
      } else {
        EXPECT_TRUE(name == "--help" || name == "--version" || std::regex_search(all_helps, whole) ||
                    scripts.find(name) != std::string::npos)
            << line << ": no flag " << name;
      }
    }
  }
  EXPECT_GT(flags, 20);
}

TEST(Help, EveryCommandHasAnExampleOfItself) {
  for (const std::string& command : Commands()) {
    const std::string help = HelpOf(command);
    const size_t example = help.find("Example:");
    ASSERT_NE(example, std::string::npos) << command;
    EXPECT_NE(help.find("fusiontree " + command, example), std::string::npos) << command;
  }
}

}  // namespace
}  // namespace fusiontree
