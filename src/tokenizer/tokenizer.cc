#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/utf8.h"
#include "checkpoint/folder.h"
#include "tokenizer/gguf_reader.h"
#include "tokenizer/json_reader.h"
#include "tokenizer/parts.h"
#include "tokenizer/space_mark.h"

namespace fusiontree::tokenizer {
namespace {

// Normal forms and respellings may lengthen a text, but not past what 32-bit offsets hold.
constexpr size_t kMaxNormalizedBytes = size_t{480} << 20;
// Scratch that a single long word blew up is not kept.
constexpr size_t kKeptScratch = 1 << 16;

// What one thread needs while it encodes.
struct Workspace {
  WordCache cache;
  MergeScratch scratch;
};

class EncodingSink : public WordSink {
 public:
  EncodingSink(const Model& model, Workspace* workspace, std::vector<int32_t>* out)
      : model_(model), cuts_(model.cuts_at_space_marks()), workspace_(workspace), out_(out) {}

  void Word(std::string_view word) override {
    if (!cuts_) {
      workspace_->cache.EncodeWord(model_, word, &workspace_->scratch, out_);
      return;
    }
    for (size_t begin = 0; begin < word.size();) {
      const size_t end = NextInnerSpaceMark(word, begin);
      workspace_->cache.EncodeWord(model_, word.substr(begin, end - begin), &workspace_->scratch, out_);
      begin = end;
    }
  }

 private:
  const Model& model_;
  const bool cuts_;
  Workspace* workspace_;
  std::vector<int32_t>* out_;
};

}  // namespace

struct Tokenizer::State {
  Parts parts;
  AddedTokenFinder raw;         // added tokens looked for in the text as it comes
  AddedTokenFinder normalized;  // and those looked for in its normal form
  bool any_normalized = false;
  bool any_normalized_special = false;
  std::unordered_map<int32_t, size_t> added_by_id;
  size_t vocab_size = 0;

  // Workspaces that no thread uses at the moment.
  std::mutex mutex;
  std::vector<std::unique_ptr<Workspace>> idle;

  explicit State(Parts p) : parts(std::move(p)) {}

  std::unique_ptr<Workspace> Borrow() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!idle.empty()) {
        std::unique_ptr<Workspace> workspace = std::move(idle.back());
        idle.pop_back();
        return workspace;
      }
    }
    return std::make_unique<Workspace>();
  }
  void GiveBack(std::unique_ptr<Workspace> workspace) {
    const MergeScratch& scratch = workspace->scratch;
    const size_t capacity =
        std::max({scratch.ids.capacity(), scratch.symbols.capacity(), scratch.pieces.capacity(),
                  scratch.heap.capacity(), scratch.piece_heap.capacity()});
    if (capacity > kKeptScratch) workspace->scratch = MergeScratch();
    const std::lock_guard<std::mutex> lock(mutex);
    idle.push_back(std::move(workspace));
  }

  const AddedToken* Added(int32_t id) const {
    const auto found = added_by_id.find(id);
    return found == added_by_id.end() ? nullptr : &parts.added[found->second];
  }

  base::Status EncodeStretch(std::string_view text, bool at_start, const DataSpans& data, EncodingSink* sink,
                             std::vector<int32_t>* out) const;
  base::Result<DataSpans> NormalizedSpans(std::string_view text, std::string_view normal,
                                          const DataSpans& data) const;
};

// Where `data` lies in the normal form of `text`: the parts between the borders are normalised one by one,
// and where that does not give the whole (a border inside a composition) everything counts as data, the safe
// side.
base::Result<DataSpans> Tokenizer::State::NormalizedSpans(std::string_view text, std::string_view normal,
                                                          const DataSpans& data) const {
  if (data.empty() || text == normal) return data;
  std::vector<Span> spans;
  std::string joined;
  size_t done = 0;
  const auto add = [&](size_t end) {
    std::string part(text.substr(done, end - done));
    const base::Status status = parts.normalizer.Apply(&part, done == 0);
    joined += part;
    done = end;
    return status;
  };
  for (const Span& span : data.spans()) {
    if (span.begin > done) FT_RETURN_IF_ERROR(add(span.begin));
    const size_t begin = joined.size();
    if (std::min(span.end, text.size()) > done) FT_RETURN_IF_ERROR(add(std::min(span.end, text.size())));
    spans.push_back({begin, joined.size()});
  }
  if (done < text.size()) FT_RETURN_IF_ERROR(add(text.size()));
  return joined == normal ? DataSpans(std::move(spans)) : DataSpans::Everything();
}

base::Status Tokenizer::State::EncodeStretch(std::string_view text, bool at_start, const DataSpans& data,
                                             EncodingSink* sink, std::vector<int32_t>* out) const {
  std::string normal;
  std::string_view from = text;
  if (!parts.normalizer.empty()) {
    normal = text;
    FT_RETURN_IF_ERROR(parts.normalizer.Apply(&normal));
    if (normal.size() > kMaxNormalizedBytes)
      return base::BadInput("the text is {} bytes long in its normal form, more than the {} allowed",
                            normal.size(), kMaxNormalizedBytes);
    from = normal;
  }
  if (!any_normalized) return parts.pre_tokenizer.Run(from, at_start, sink);
  DataSpans inside;
  if (any_normalized_special) {
    FT_ASSIGN_OR_RETURN(inside, NormalizedSpans(text, from, data));
  }
  for (const AddedTokenFinder::Stretch& stretch : normalized.Cut(from, inside)) {
    if (stretch.id >= 0) {
      out->push_back(stretch.id);
      continue;
    }
    FT_RETURN_IF_ERROR(parts.pre_tokenizer.Run(from.substr(stretch.begin, stretch.end - stretch.begin),
                                               at_start && stretch.begin == 0, sink));
  }
  return base::OkStatus();
}

Tokenizer::Tokenizer(Parts parts) : state_(std::make_unique<State>(std::move(parts))) {
  State& state = *state_;
  state.vocab_size = state.parts.vocabulary->size();
  // Special tokens come first, as in Hugging Face's: of equal normal forms the first one counts.
  for (const bool special : {true, false}) {
    for (size_t i = 0; i < state.parts.added.size(); ++i) {
      const AddedToken& token = state.parts.added[i];
      if (token.special != special) continue;
      state.added_by_id.emplace(token.id, i);
      state.vocab_size = std::max<size_t>(state.vocab_size, token.id + 1);
      if (!token.normalized) {
        state.raw.Add(token.content, token);
        continue;
      }
      std::string content = token.content;
      if (!state.parts.normalizer.Apply(&content).ok()) continue;
      state.normalized.Add(content, token);
      state.any_normalized = true;
      state.any_normalized_special |= special;
    }
  }
}

Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

base::Result<Tokenizer> Tokenizer::FromJson(std::string_view tokenizer_json,
                                            std::string_view tokenizer_config_json) {
  FT_ASSIGN_OR_RETURN(Parts parts, ReadTokenizerJson(tokenizer_json, tokenizer_config_json));
  return Tokenizer(std::move(parts));
}

base::Result<Tokenizer> Tokenizer::FromGguf(const checkpoint::Metadata& metadata) {
  FT_ASSIGN_OR_RETURN(Parts parts, ReadTokenizerGguf(metadata));
  return Tokenizer(std::move(parts));
}

base::Result<Tokenizer> Tokenizer::Load(const checkpoint::Checkpoint& checkpoint) {
  if (checkpoint.format() == checkpoint::Checkpoint::Format::kGguf) {
    base::Result<Tokenizer> tokenizer = FromGguf(checkpoint.metadata());
    if (!tokenizer.ok()) return tokenizer.status().WithContext(checkpoint.path());
    return tokenizer;
  }
  return FromFiles(checkpoint.path(), [&](const std::string& name) { return checkpoint.ReadText(name); });
}

base::Result<Tokenizer> Tokenizer::LoadFolder(const std::string& folder) {
  return FromFiles(folder, [&](const std::string& name) -> base::Result<std::optional<std::string>> {
    const std::string path = folder + "/" + name;
    std::error_code error;
    if (!std::filesystem::exists(std::filesystem::symlink_status(path, error)))
      return std::optional<std::string>();
    FT_ASSIGN_OR_RETURN(std::string text, checkpoint::ReadSmallFile(path, kMaxTextBytes));
    return std::optional<std::string>(std::move(text));
  });
}

base::Result<Tokenizer> Tokenizer::FromFiles(const std::string& folder, const FileReader& read) {
  FT_ASSIGN_OR_RETURN(const auto json, read("tokenizer.json"));
  if (!json.has_value())
    return base::BadInput("{}: there is no tokenizer.json in this folder; give token ids instead of text",
                          folder);
  ConfigTexts configs;
  FT_ASSIGN_OR_RETURN(const auto config, read("tokenizer_config.json"));
  FT_ASSIGN_OR_RETURN(const auto special, read("special_tokens_map.json"));
  FT_ASSIGN_OR_RETURN(const auto jinja, read("chat_template.jinja"));
  FT_ASSIGN_OR_RETURN(const auto legacy, read("chat_template.json"));
  configs.tokenizer_config = config.value_or("");
  configs.special_tokens_map = special.value_or("");
  configs.chat_template_json = legacy.value_or("");
  base::Result<Parts> parts = ReadTokenizerJson(*json, configs);
  if (!parts.ok()) return parts.status().WithContext(folder);
  if (jinja.has_value()) parts->chat_template = *jinja;
  return Tokenizer(std::move(parts).value());
}

base::Result<std::vector<int32_t>> Tokenizer::Encode(std::string_view text,
                                                     const EncodeOptions& options) const {
  std::string replaced;
  if (options.lossy) {
    replaced = base::ReplaceInvalidUtf8(text);
    text = replaced;
  }
  return EncodeChecked(text, options.allow_special ? DataSpans() : DataSpans::Everything(),
                       options.add_special_tokens);
}

base::Result<std::vector<int32_t>> Tokenizer::EncodeSpans(std::string_view text, std::vector<Span> data,
                                                          bool add_special_tokens) const {
  for (const Span& span : data)
    if (span.begin > span.end || span.end > text.size())
      return base::BadInput("the data range from {} to {} does not lie in a text of {} bytes", span.begin,
                            span.end, text.size());
  return EncodeChecked(text, DataSpans(std::move(data)), add_special_tokens);
}

base::Result<std::vector<int32_t>> Tokenizer::EncodeChecked(std::string_view text, const DataSpans& data,
                                                            bool add_special_tokens) const {
  if (text.size() > kMaxTextBytes)
    return base::BadInput("the text is {} bytes long, more than the {} allowed", text.size(), kMaxTextBytes);
  FT_RETURN_IF_ERROR(base::CheckUtf8(text, "the text"));
  const Parts& parts = state_->parts;
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + 8);
  if (add_special_tokens) ids = parts.prefix;
  std::unique_ptr<Workspace> workspace = state_->Borrow();
  EncodingSink sink(*parts.model, workspace.get(), &ids);
  base::Status status;
  for (const AddedTokenFinder::Stretch& stretch : state_->raw.Cut(text, data)) {
    if (stretch.id >= 0) {
      ids.push_back(stretch.id);
      continue;
    }
    status = state_->EncodeStretch(text.substr(stretch.begin, stretch.end - stretch.begin),
                                   stretch.begin == 0, data.Within(stretch.begin, stretch.end), &sink, &ids);
    if (!status.ok()) break;
  }
  state_->GiveBack(std::move(workspace));
  FT_RETURN_IF_ERROR(status);
  if (add_special_tokens) ids.insert(ids.end(), parts.suffix.begin(), parts.suffix.end());
  return ids;
}

base::Result<std::string> Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!Has(ids[i]))
      return base::BadInput("id {} at position {} is not in the vocabulary of {} tokens", ids[i], i,
                            vocab_size());
    if (!skip_special || !IsSpecial(ids[i])) tokens.emplace_back(TokenText(ids[i]));
  }
  return state_->parts.decoder.Decode(std::move(tokens));
}

size_t Tokenizer::vocab_size() const { return state_->vocab_size; }
std::optional<int32_t> Tokenizer::bos_id() const { return state_->parts.bos_id; }
std::optional<int32_t> Tokenizer::eos_id() const {
  if (eos_ids().empty()) return std::nullopt;
  return eos_ids()[0];
}
std::optional<int32_t> Tokenizer::unk_id() const { return state_->parts.unk_id; }
std::optional<int32_t> Tokenizer::pad_id() const { return state_->parts.pad_id; }
const std::vector<int32_t>& Tokenizer::eos_ids() const { return state_->parts.eos_ids; }
const std::string& Tokenizer::chat_template() const { return state_->parts.chat_template; }
const std::string& Tokenizer::description() const { return state_->parts.description; }

bool Tokenizer::Has(int32_t id) const {
  return state_->Added(id) != nullptr || state_->parts.vocabulary->Has(id);
}

std::string_view Tokenizer::TokenText(int32_t id) const {
  const AddedToken* added = state_->Added(id);
  return added != nullptr ? std::string_view(added->content) : state_->parts.vocabulary->Text(id);
}

bool Tokenizer::IsSpecial(int32_t id) const {
  const AddedToken* added = state_->Added(id);
  return added != nullptr && added->special;
}

std::optional<int32_t> Tokenizer::FindToken(std::string_view text) const {
  const int32_t id = state_->parts.Find(text);
  if (id < 0) return std::nullopt;
  return id;
}

struct StreamDecoder::State {
  const Tokenizer* tokenizer;
  bool skip_special;
  Decoder::Stream stream;
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : state_(new State{&tokenizer, skip_special, Decoder::Stream(&tokenizer.state_->parts.decoder)}) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::Push(int32_t id) {
  const Tokenizer& tokenizer = *state_->tokenizer;
  if (!tokenizer.Has(id) || (state_->skip_special && tokenizer.IsSpecial(id))) return "";
  return state_->stream.Push(tokenizer.TokenText(id));
}

std::string StreamDecoder::Finish() { return state_->stream.Finish(); }

}  // namespace fusiontree::tokenizer
