// Documents through a function on many threads, in batches: what comes out is in the order of the files.
#ifndef FUSIONTREE_DATA_PIPELINE_H_
#define FUSIONTREE_DATA_PIPELINE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "data/document.h"
#include "data/document_reader.h"

namespace fusiontree::data {

struct PipelineOptions {
  bool skip_invalid = false;  // else the first invalid document ends the work with its error
  std::function<void(double)> progress = [](double) {};
};

struct PipelineReport {
  int64_t documents = 0;                 // valid ones
  int64_t empty = 0;                     // left out: not a byte of text
  int64_t skipped = 0;                   // invalid
  std::vector<std::string> skipped_why;  // of the first kMaxWhy: place and reason
  static constexpr size_t kMaxWhy = 5;
};

// Slots of a batch: at most so many documents, and about so many bytes.
inline constexpr size_t kBatchDocuments = 4096;
inline constexpr size_t kBatchBytes = size_t{8} << 20;

// Reads all of `reader`. `work` is called on any thread with a document and its slot (below kBatchDocuments);
// its error makes the document invalid. `take` is called once a batch with the slots that are valid and not
// empty, in order; its error ends the work.
base::Result<PipelineReport> RunPipeline(
    DocumentReader* reader, const DocumentParser& parser, base::ThreadPool* pool,
    const PipelineOptions& options, const std::function<base::Status(Document document, size_t slot)>& work,
    const std::function<base::Status(const std::vector<size_t>& slots)>& take);

}  // namespace fusiontree::data

#endif  // FUSIONTREE_DATA_PIPELINE_H_
