// Every template of testdata/templates on every conversation, and the snippets, against what Jinja printed
// (tools/make_template_golden.py).
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "tokenizer/chat_template.h"

namespace fusiontree::tokenizer {
namespace {

using base::Result;
using Json = nlohmann::ordered_json;

std::string Read(const std::string& name) {
  std::ifstream file(std::string(FUSIONTREE_TESTDATA) + "/templates/" + name, std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class GoldenTest : public testing::Test {
 protected:
  // strftime_now in the golden files was called at this time, UTC.
  void SetUp() override {
    setenv("TZ", "UTC", 1);
    tzset();
    limits_.now = 1733234709;
  }

  // One mismatch is reported in full; the counts say how far the rest is off.
  void Check(const std::string& source, const std::string& variables, const Json& row) {
    const Result<TemplateValue> globals = TemplateValue::FromJson(variables, TextOrigin::kData);
    ASSERT_TRUE(globals.ok()) << globals.status().message();
    Result<std::string> rendered = [&]() -> Result<std::string> {
      FT_ASSIGN_OR_RETURN(const ChatTemplate parsed, ChatTemplate::Parse(source));
      return parsed.Render(*globals, limits_);
    }();
    if (row.contains("error")) {
      EXPECT_FALSE(rendered.ok()) << source << "\nJinja: " << row["error"]
                                  << "\nours: " << (rendered.ok() ? *rendered : "");
      if (!rendered.ok()) {
        EXPECT_TRUE(rendered.status().message().starts_with("chat template line "))
            << rendered.status().message();
        ++errors_;
      }
    } else if (!rendered.ok()) {
      ADD_FAILURE() << source << "\n" << rendered.status().message();
    } else {
      EXPECT_EQ(*rendered, row["output"].get<std::string>()) << source;
      ++outputs_;
    }
  }

  TemplateLimits limits_;
  int outputs_ = 0;
  int errors_ = 0;
};

TEST_F(GoldenTest, TemplatesPrintWhatJinjaPrints) {
  const Json inputs = Json::parse(Read("inputs.json"));
  const Json rows = Json::parse(Read("expected.json"));
  std::map<std::string, std::string> sources;
  for (const Json& row : rows) {
    const std::string name = row["template"];
    if (!sources.contains(name)) sources[name] = Read(name + ".jinja");
    SCOPED_TRACE(name + " on " + row["input"].get<std::string>());
    Check(sources[name], inputs[row["input"].get<std::string>()].dump(), row);
  }
  EXPECT_GE(sources.size(), 25u);
  EXPECT_GE(outputs_, 500);
  EXPECT_GE(errors_, 100);
}

TEST_F(GoldenTest, SnippetsPrintWhatJinjaPrints) {
  const std::string context = Read("context.json");
  const Json rows = Json::parse(Read("snippets.json"));
  for (const Json& row : rows) Check(row["template"], context, row);
  EXPECT_GE(outputs_, 120);
  EXPECT_GE(errors_, 120);
}

}  // namespace
}  // namespace fusiontree::tokenizer
