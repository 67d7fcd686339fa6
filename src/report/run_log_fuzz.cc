// Any bytes as a metrics.jsonl: what is read is written and read again as the same, and its figures are
// drawn.
#include <cstdint>

#include "base/check.h"
#include "report/plot_run.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fusiontree::base::OkStatus;
  using fusiontree::report::Record;
  fusiontree::report::RunHistory history;
  std::string written;
  const auto status =
      fusiontree::report::ParseRunLog({reinterpret_cast<const char*>(data), size}, [&](Record record) {
        written += fusiontree::report::ToLine(record);
        return history.Add(std::move(record));
      });
  if (!status.ok()) {
    FT_CHECK(!status.message().empty() && status.message().size() < 4096);
    return 0;
  }
  std::string again;
  const auto reread = fusiontree::report::ParseRunLog(written, [&](const Record& record) {
    again += fusiontree::report::ToLine(record);
    return OkStatus();
  });
  FT_CHECK(reread.ok() && again == written);
  for (const auto& [name, figure] : fusiontree::report::RunFigures(history, "fuzz"))
    FT_CHECK(fusiontree::report::Svg(fusiontree::report::Draw(figure)).find("nan") == std::string::npos);
  return 0;
}
