// Only in a build without MPI.
#include <gtest/gtest.h>

#include "parallel/mpi.h"

namespace fusiontree::parallel {
namespace {

TEST(MpiAbsent, SaysWhatIsMissing) {
  const auto ranks = JoinMpi();
  ASSERT_FALSE(ranks.ok());
  EXPECT_EQ(ranks.status().kind(), base::ErrorKind::kBadInput);
  EXPECT_EQ(ranks.status().message().rfind("this program was built without MPI", 0), 0u);
}

}  // namespace
}  // namespace fusiontree::parallel
