// For tests: what every communicator must do, as one body that each rank runs, be it alone, a thread or a
// process. A case returns the first thing that it found wrong.
#ifndef FUSIONTREE_PARALLEL_COMMUNICATOR_CASES_H_
#define FUSIONTREE_PARALLEL_COMMUNICATOR_CASES_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "parallel/communicator.h"

namespace fusiontree::parallel::cases {

// What rank `rank` sends as number i in round `round`: exact in fp32.
inline float Value(int rank, int64_t round, int64_t i) {
  const uint64_t mixed =
      (static_cast<uint64_t>(rank) * 1000003u + static_cast<uint64_t>(round)) * 0x9e3779b97f4a7c15u +
      static_cast<uint64_t>(i) * 0xbf58476d1ce4e5b9u;
  return static_cast<float>(static_cast<int64_t>(mixed >> 40) - (1 << 23));
}

inline void Fill(float* window, int64_t floats, int rank, int64_t round) {
  for (int64_t i = 0; i < floats; ++i) window[i] = Value(rank, round, i);
}

inline base::Status Verify(const Communicator& ranks, const float* const* parts, int64_t floats,
                           int64_t round) {
  for (int rank = 0; rank < ranks.size(); ++rank)
    for (int64_t i = 0; i < floats; ++i)
      if (parts[rank][i] != Value(rank, round, i))
        return base::Failed("rank {} got {} instead of {} as number {} of {} of rank {} in exchange {}",
                            ranks.rank(), parts[rank][i], Value(rank, round, i), i, floats, rank, round);
  return ranks.status();
}

// Sizes that grow and shrink. While the next part is written the last ones stay, on all ranks; other
// operations in between disturb neither.
inline base::Status Exchanges(Communicator& ranks) {
  const int64_t sizes[] = {1, 7, 16, 1000, 65536, 3, 1'000'000, 5, 250'000, 0, 64};
  const float* const* parts = nullptr;
  int64_t round = 0, last = 0;
  for (const int64_t floats : sizes) {
    float* window = ranks.Window(floats);
    if (window == nullptr || reinterpret_cast<uintptr_t>(window) % 64 != 0)
      return base::Failed("the window of {} floats is not aligned", floats);
    Fill(window, floats, ranks.rank(), round);
    int32_t control = ranks.rank() == 0 ? static_cast<int32_t>(round) : -1;
    ranks.Broadcast(&control, sizeof(control));
    if (control != round) return base::Failed("round {} was broadcast as {}", round, control);
    if (round > 0) FT_RETURN_IF_ERROR(Verify(ranks, parts, last, round - 1));
    parts = ranks.Exchange(floats);
    FT_RETURN_IF_ERROR(Verify(ranks, parts, floats, round));
    last = floats;
    ++round;
  }
  return base::OkStatus();
}

// Many in a row, with ranks that are late by turns; fewer floats than the window has room for.
inline base::Status ManyExchanges(Communicator& ranks) {
  for (int64_t round = 0; round < 3000; ++round) {
    const int64_t floats = 1 + round * 37 % 200;
    if (round % 100 == ranks.rank()) std::this_thread::sleep_for(std::chrono::microseconds(300));
    Fill(ranks.Window(floats + 10), floats, ranks.rank(), round);
    FT_RETURN_IF_ERROR(Verify(ranks, ranks.Exchange(floats), floats, round));
  }
  return base::OkStatus();
}

inline base::Status Broadcasts(Communicator& ranks) {
  for (const size_t bytes :
       {size_t{0}, size_t{1}, size_t{100}, size_t{65536}, size_t{65537}, size_t{3'000'000}, size_t{5}}) {
    std::vector<uint8_t> data(bytes, 0xee);
    if (ranks.rank() == 0)
      for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<uint8_t>(i * 7 + bytes);
    ranks.Broadcast(data.data(), bytes);
    for (size_t i = 0; i < bytes; ++i)
      if (data[i] != static_cast<uint8_t>(i * 7 + bytes))
        return base::Failed("byte {} of {} was broadcast wrongly to rank {}", i, bytes, ranks.rank());
    std::fill(data.begin(), data.end(), uint8_t{0x11});  // the sender may reuse its memory at once
  }
  return ranks.status();
}

inline base::Status Gathers(Communicator& ranks) {
  for (const size_t bytes :
       {size_t{0}, size_t{1}, size_t{13}, size_t{70'000}, size_t{1'000'000}, size_t{8}}) {
    std::vector<uint8_t> mine(bytes), all(bytes * static_cast<size_t>(ranks.size()));
    const auto expected = [bytes](size_t rank, size_t i) {
      return static_cast<uint8_t>(i * 11 + bytes + rank * 101);
    };
    for (size_t i = 0; i < bytes; ++i) mine[i] = expected(static_cast<size_t>(ranks.rank()), i);
    ranks.AllGather(mine.data(), bytes, all.data());
    std::fill(mine.begin(), mine.end(), uint8_t{0x22});
    for (size_t i = 0; i < all.size(); ++i)
      if (all[i] != expected(i / bytes, i % bytes))
        return base::Failed("byte {} of {} was gathered wrongly to rank {}", i, all.size(), ranks.rank());
  }
  return ranks.status();
}

// Nobody is through before everybody has come; the clock is the machine's.
inline base::Status Barriers(Communicator& ranks) {
  const auto now = [] { return std::chrono::steady_clock::now().time_since_epoch().count(); };
  for (int round = 0; round < 20; ++round) {
    if (round % ranks.size() == ranks.rank()) std::this_thread::sleep_for(std::chrono::milliseconds(3));
    const int64_t came = now();
    ranks.Barrier();
    const int64_t times[2] = {came, now()};
    std::vector<int64_t> all(2 * static_cast<size_t>(ranks.size()));
    ranks.AllGather(times, sizeof(times), all.data());
    for (size_t a = 0; a < all.size(); a += 2)
      for (size_t b = 0; b < all.size(); b += 2)
        if (all[b + 1] < all[a])
          return base::Failed("rank {} passed barrier {} before rank {} came", b / 2, round, a / 2);
  }
  return ranks.status();
}

inline base::Status Books(Communicator& ranks) {
  const Traffic before = ranks.traffic();
  ranks.Window(100);
  ranks.Exchange(50);
  ranks.Barrier();
  const Traffic after = ranks.traffic();
  if (after.operations - before.operations != 2 || after.bytes - before.bytes != 200 * (ranks.size() - 1) ||
      after.seconds < before.seconds)
    return base::Failed("{} operations and {} bytes were booked", after.operations - before.operations,
                        after.bytes - before.bytes);
  return ranks.status();
}

inline base::Status All(Communicator& ranks) {
  using Case = base::Status (*)(Communicator&);
  for (const Case one : {&Exchanges, &ManyExchanges, &Broadcasts, &Gathers, &Barriers, &Books, &Exchanges})
    FT_RETURN_IF_ERROR(one(ranks));
  return base::OkStatus();
}

// The last rank fails while the others are inside operation `kind` (0 to 3). All return and know why, and
// whatever is called then returns. Returns what is wrong, success if the failure arrived as it should.
inline base::Status Failure(Communicator& ranks, int kind) {
  FT_RETURN_IF_ERROR(Exchanges(ranks));
  std::vector<float> bytes(100), all(100 * static_cast<size_t>(ranks.size()));
  const auto operate = [&](int which) {
    float* window = ranks.Window(100);
    Fill(window, 100, ranks.rank(), 1);
    float sum = 0;
    if (which == 0) {
      const float* const* parts = ranks.Exchange(100);
      for (int rank = 0; rank < ranks.size(); ++rank)
        sum += parts[rank][99];  // whatever it is, it may be read
    }
    if (which == 1) ranks.Broadcast(bytes.data(), 400);
    if (which == 2) ranks.AllGather(bytes.data(), 400, all.data());
    if (which == 3) ranks.Barrier();
    bytes[0] = sum;
  };
  if (ranks.rank() == ranks.size() - 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    ranks.Fail(base::BadInput("model.safetensors: cannot read"));
  } else {
    while (ranks.status().ok()) operate(kind);
  }
  for (int which = 0; which < 8; ++which) operate(which % 4);
  ranks.Fail(base::Failed("a later error"));
  const base::Status status = ranks.status();
  if (status.ok() || status.message() != "model.safetensors: cannot read" ||
      status.kind() != base::ErrorKind::kBadInput)
    return base::Failed("rank {} heard of '{}'", ranks.rank(), status.ok() ? "nothing" : status.message());
  return base::OkStatus();
}

}  // namespace fusiontree::parallel::cases

#endif  // FUSIONTREE_PARALLEL_COMMUNICATOR_CASES_H_
