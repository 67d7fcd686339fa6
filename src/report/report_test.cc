#include <gtest/gtest.h>

#include <limits>

#include "report/json.h"
#include "report/table.h"
#include "report/units.h"

namespace fusiontree::report {
namespace {

TEST(Table, NumbersGoRightAndWidthsCountCharacters) {
  Table table({"name", "bytes"});
  table.Row({"é", "5"});
  table.Row({"embed", "1200"});
  EXPECT_EQ(table.Text(),
            "name   bytes\n"
            "é          5\n"
            "embed   1200\n");
}

TEST(Table, UnitsAreNumbersAndSentencesAreNot) {
  Table units({"a", "b"});
  units.Row({"1.5 GB", "3 \"x\""});
  units.Row({"20 MB/s", "10 \"xyz\""});
  EXPECT_EQ(units.Text(),
            "      a  b\n"
            " 1.5 GB  3 \"x\"\n"
            "20 MB/s  10 \"xyz\"\n");
}

TEST(Table, BarIsCutToItsWidth) {
  EXPECT_EQ(Bar(1, 2, 10), "#####.....");
  EXPECT_EQ(Bar(9, 2, 4), "####");
  EXPECT_EQ(Bar(1, 0, 4), "....");
}

TEST(Units, ReadAsPeopleWriteThem) {
  EXPECT_EQ(Bytes(999), "999 B");
  EXPECT_EQ(Bytes(98362432), "98.4 MB");
  EXPECT_EQ(Bytes(999999), "1.00 MB");
  EXPECT_EQ(Count(134515008), "135 M");
  EXPECT_EQ(Seconds(0.0032), "3.20 ms");
  EXPECT_EQ(Seconds(0.123), "123 ms");
  EXPECT_EQ(Seconds(1.25), "1.25 s");
  EXPECT_EQ(Seconds(250), "4 min 10 s");
  EXPECT_EQ(Grouped(134515008), "134,515,008");
  EXPECT_EQ(Grouped(-1000), "-1,000");
  EXPECT_EQ(Grouped(12), "12");
}

TEST(Json, NestsAndSeparates) {
  Json json(0);
  json.BeginObject().Key("a").Integer(1).Key("b").BeginArray().Number(0.1).Bool(true).Null().EndArray();
  json.Key("c").BeginObject().EndObject().EndObject();
  EXPECT_EQ(json.text(), R"({"a": 1, "b": [0.1, true, null], "c": {}})");
}

TEST(Json, IndentsWhenAsked) {
  Json json(2);
  json.BeginObject().Key("a").BeginArray().Integer(1).Integer(2).EndArray().EndObject();
  EXPECT_EQ(json.text(), "{\n  \"a\": [\n    1,\n    2\n  ]\n}");
}

TEST(Json, EscapesAndNeverWritesBrokenUtf8) {
  EXPECT_EQ(Quote("a\"\\\n\x01"), "\"a\\\"\\\\\\n\\u0001\"");
  EXPECT_EQ(Quote("\xC3\xA9"), "\"\xC3\xA9\"");
  EXPECT_EQ(Quote("\xC3"), "\"\xEF\xBF\xBD\"");
  EXPECT_EQ(Quote("\xED\xA0\x80").find('\xED'), std::string::npos);
  EXPECT_EQ(Json(0).Number(std::numeric_limits<double>::quiet_NaN()).text(), "null");
}

}  // namespace
}  // namespace fusiontree::report
