#include "data/pipeline.h"

#include <atomic>

namespace fusiontree::data {
namespace {

enum class Outcome { kValid, kEmpty, kInvalid };

base::Result<std::vector<RawDocument>> ReadBatch(DocumentReader* reader) {
  std::vector<RawDocument> batch;
  size_t bytes = 0;
  while (batch.size() < kBatchDocuments && bytes < kBatchBytes) {
    RawDocument raw;
    FT_ASSIGN_OR_RETURN(const bool more, reader->Next(&raw));
    if (!more) break;
    bytes += raw.text.size();
    batch.push_back(std::move(raw));
  }
  return batch;
}

}  // namespace

base::Result<PipelineReport> RunPipeline(
    DocumentReader* reader, const DocumentParser& parser, base::ThreadPool* pool,
    const PipelineOptions& options, const std::function<base::Status(Document document, size_t slot)>& work,
    const std::function<base::Status(const std::vector<size_t>& slots)>& take) {
  PipelineReport report;
  std::vector<Outcome> outcomes;
  std::vector<base::Status> errors;
  std::vector<size_t> slots;
  while (true) {
    FT_ASSIGN_OR_RETURN(const std::vector<RawDocument> batch, ReadBatch(reader));
    if (batch.empty()) return report;
    outcomes.assign(batch.size(), Outcome::kValid);
    errors.assign(batch.size(), base::OkStatus());
    std::atomic<size_t> next{0};
    pool->Run([&](int) {
      for (size_t i; (i = next.fetch_add(1)) < batch.size();) {
        base::Result<Document> document = parser.Parse(batch[i]);
        if (document.ok() && document->text.empty()) {
          outcomes[i] = Outcome::kEmpty;
          continue;
        }
        errors[i] = document.ok() ? work(std::move(document).value(), i) : document.status();
        if (!errors[i].ok()) outcomes[i] = Outcome::kInvalid;
      }
    });
    slots.clear();
    for (size_t i = 0; i < batch.size(); ++i) {
      report.empty += outcomes[i] == Outcome::kEmpty;
      if (outcomes[i] == Outcome::kValid) slots.push_back(i);
      if (outcomes[i] != Outcome::kInvalid) continue;
      const base::Status error = errors[i].WithContext(reader->Where(batch[i]));
      if (!options.skip_invalid) return error;
      ++report.skipped;
      if (report.skipped_why.size() < PipelineReport::kMaxWhy) report.skipped_why.push_back(error.message());
    }
    report.documents += static_cast<int64_t>(slots.size());
    FT_RETURN_IF_ERROR(take(slots));
    options.progress(reader->progress());
  }
}

}  // namespace fusiontree::data
