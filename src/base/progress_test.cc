#include "base/progress.h"

#include <gtest/gtest.h>

namespace fusiontree::base {
namespace {

TEST(Progress, LineShowsTheShareDone) {
  EXPECT_EQ(ProgressLine("loading", 0.5, 1.25, 8), "loading  [####....]   50%  1.2 s");
  EXPECT_EQ(ProgressLine("loading", 0.0, 0.0, 4), "loading  [....]    0%  0.0 s");
  EXPECT_EQ(ProgressLine("loading", 7.0, 10.0, 4), "loading  [####]  100%  10.0 s");
  EXPECT_EQ(ProgressLine("loading", -1.0, 10.0, 4), "loading  [....]    0%  10.0 s");
}

TEST(Progress, LineMayEndInANote) {
  EXPECT_EQ(ProgressLine("training", 0.5, "loss 3.21", 4), "training  [##..]   50%  loss 3.21");
  testing::internal::CaptureStderr();
  {
    Progress elsewhere("training", /*terminal=*/false);
    elsewhere.Update(0.5, "loss 3.21");
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "the caller prints its own lines";
}

TEST(Progress, ElsewhereShortWorkIsSilent) {
  testing::internal::CaptureStderr();
  {
    Progress progress("loading", /*terminal=*/false);
    for (int i = 0; i <= 100; ++i) progress.Update(i / 100.0);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Progress, OnATerminalTheLineIsTakenOffAtTheEnd) {
  testing::internal::CaptureStderr();
  {
    Progress progress("loading", /*terminal=*/true);
    progress.Update(0.25);
  }
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("25%"), std::string::npos);
  EXPECT_EQ(text.substr(text.size() - 4), "\r\x1b[K");
}

}  // namespace
}  // namespace fusiontree::base
