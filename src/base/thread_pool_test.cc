#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <xmmintrin.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace fusiontree::base {
namespace {

TEST(ThreadPool, EveryThreadDoesItsPartOnceAJob) {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    std::vector<int> count(static_cast<size_t>(threads), 0);
    for (int job = 0; job < 500; ++job) pool.Run([&](int i) { ++count[static_cast<size_t>(i)]; });
    for (int c : count) EXPECT_EQ(c, 500);
  }
}

// More threads than processors: parts are done by whoever comes first, still once each.
TEST(ThreadPool, PartsThatNoWorkerBeginsAreDoneOnceToo) {
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> end{false};
  std::vector<std::thread> busy;
  for (int i = 0; i < 4; ++i)
    busy.emplace_back([&end] {
      while (!end) continue;
    });
  ThreadPool pool(9);
  std::vector<int> count(9, 0);
  std::atomic<int> for_others{0};
  for (int job = 0; job < 2000; ++job)
    pool.Run([&](int i) {
      ++count[static_cast<size_t>(i)];
      for_others += i > 0 && std::this_thread::get_id() == caller;
    });
  end = true;
  for (std::thread& thread : busy) thread.join();
  for (int c : count) EXPECT_EQ(c, 2000);
  EXPECT_GT(for_others, 0);
}

TEST(ThreadPool, WakesWorkersThatSleep) {
  ThreadPool pool(2);
  std::atomic<int> done{0};
  for (int job = 0; job < 5; ++job) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    pool.Run([&](int) { ++done; });
  }
  EXPECT_EQ(done, 10);
}

TEST(ThreadPool, ComputesUnderTheContractsFloatModeAndRestoresTheCallers) {
  ThreadPool pool(2);
  const unsigned before = _mm_getcsr();
  unsigned seen[2] = {0, 0};
  pool.Run([&](int i) { seen[i] = _mm_getcsr() & ~0x3fu; });
  EXPECT_EQ(seen[0], 0x9FC0u);
  EXPECT_EQ(seen[1], 0x9FC0u);
  EXPECT_EQ(_mm_getcsr() & ~0x3fu, before & ~0x3fu);
}

TEST(ThreadPool, PinsEachThreadToOneProcessorFromTheFirstOn) {
  const std::vector<int> cpus = ThreadPool::Processors();
  std::thread([&] {  // the caller's mask is narrowed too
    const auto processors = [](ThreadPool& pool) {
      std::vector<cpu_set_t> sets(static_cast<size_t>(pool.size()));
      pool.Run([&](int i) { sched_getaffinity(0, sizeof(cpu_set_t), &sets[static_cast<size_t>(i)]); });
      return sets;
    };
    for (const size_t first : {0, 1}) {
      ThreadPool pool(2, true, static_cast<int>(first));
      const std::vector<cpu_set_t> sets = processors(pool);
      for (size_t i = 0; i < sets.size(); ++i) {
        EXPECT_EQ(CPU_COUNT(&sets[i]), 1);
        EXPECT_TRUE(CPU_ISSET(cpus[(first + i) % cpus.size()], &sets[i]));
      }
    }
    ThreadPool free(2);
    std::vector<cpu_set_t> sets(2);
    free.Run([&](int i) {
      if (i == 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));  // so that the worker begins
      sched_getaffinity(0, sizeof(cpu_set_t), &sets[static_cast<size_t>(i)]);
    });
    EXPECT_EQ(CPU_COUNT(&sets[1]), static_cast<int>(cpus.size()));
    EXPECT_EQ(ThreadPool::AvailableProcessors(), static_cast<int>(cpus.size()));
  })
      .join();
}

TEST(Share, CoversOnceInOrder) {
  for (int64_t n : {0, 1, 5, 64, 100}) {
    for (int64_t unit : {1, 6, 32}) {
      for (int parts : {1, 2, 3, 8}) {
        int64_t at = 0;
        for (int part = 0; part < parts; ++part) {
          const Range r = Share(n, unit, part, parts);
          EXPECT_EQ(r.begin, at);
          EXPECT_TRUE(r.begin % unit == 0 || r.begin == n);
          at = r.end;
        }
        EXPECT_EQ(at, n);
      }
    }
  }
}

}  // namespace
}  // namespace fusiontree::base
