#include "data/shards.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/philox.h"
#include "checkpoint/folder.h"
#include "data/permutation.h"

namespace fusiontree::data {
namespace {

using base::BadInput;
using base::Quote;
using nlohmann::json;

constexpr const char* kFormat = "fusiontree token shards";
constexpr int64_t kIndexVersion = 1;

// What merges, patterns and normal forms differ in.
constexpr std::string_view kProbe =
    "The quick brown fox didn't jump over 1234567 lazy dogs, it'LL walk.  def f(x):\n\n\treturn x[0] != "
    "'a'\r\n"
    "\xC3\xA9 e\xCC\x81 \xC3\x85ngstr\xC3\xB6m \xE4\xB8\xAD\xE6\x96\x87 \xD0\x9F\xD1\x80 \xF0\x9F\x99\x82 "
    "\xEF\xAC\x81 "
    "\xC2\xA0 \xE2\x80\x83x <|endoftext|></s>   ...!!! http://a.b/c?d=e camelCase SNAKE_case";

// Fields of index.json, with the place in every error.
class IndexReader {
 public:
  explicit IndexReader(const json& object, std::string where = "")
      : object_(object), where_(std::move(where)) {}

  base::Result<int64_t> Integer(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_number_unsigned() || found->get<uint64_t>() > uint64_t{1} << 62)
      return BadInput("\"{}{}\" is missing or no whole number", where_, key);
    return found->get<int64_t>();
  }
  base::Result<const json*> Object(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_object())
      return BadInput("\"{}{}\" is missing or no object", where_, key);
    return &*found;
  }

 private:
  const json& object_;
  std::string where_;
};

// A name in this folder and nowhere else.
bool PlainName(const std::string& name) {
  return !name.empty() && name[0] != '.' && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

base::Status OpenPart(const std::string& path, const json& part, const char* name, bool full,
                      ShardFolder* folder, ShardSet* set) {
  const auto files = part.find("files");
  if (files == part.end() || !files->is_array()) return BadInput("\"{}.files\" is missing or no list", name);
  for (const json& file : *files) {
    if (!file.is_string() || !PlainName(file.get<std::string>()))
      return BadInput("\"{}.files\" names what is no file of the folder", name);
    FT_ASSIGN_OR_RETURN(auto shard, ShardFile::Open(path + "/" + file.get<std::string>(), full));
    if (shard->header().vocab_size != folder->vocab_size ||
        shard->header().tokenizer_digest != folder->tokenizer_digest)
      return BadInput("{} was made with another tokenizer than the index says",
                      Quote(file.get<std::string>()));
    set->Add(std::move(shard));
  }
  const IndexReader reader(part, std::string(name) + ".");
  FT_ASSIGN_OR_RETURN(const int64_t documents, reader.Integer("documents"));
  FT_ASSIGN_OR_RETURN(const int64_t tokens, reader.Integer("tokens"));
  if (documents != set->documents() || tokens != set->tokens())
    return BadInput("it says {} documents of {} tokens for {}, but the files have {} of {}", documents,
                    tokens, name, set->documents(), set->tokens());
  return base::OkStatus();
}

base::Status ReadIndex(const std::string& path, const std::string& text, bool full, ShardFolder* folder) {
  FT_ASSIGN_OR_RETURN(const json index, base::ParseJson(text));
  if (!index.is_object() || !index.contains("format") || index["format"] != kFormat)
    return BadInput("it is no index of token shards: \"format\" is not {}", Quote(kFormat));
  const IndexReader reader(index);
  FT_ASSIGN_OR_RETURN(const int64_t version, reader.Integer("version"));
  if (version != kIndexVersion)
    return BadInput("it has version {} of the format, but this program reads version {}", version,
                    kIndexVersion);
  FT_ASSIGN_OR_RETURN(folder->vocab_size, reader.Integer("vocab_size"));
  if (folder->vocab_size == 0 || folder->vocab_size > INT32_MAX)
    return BadInput("\"vocab_size\" is {}", folder->vocab_size);
  FT_ASSIGN_OR_RETURN(const int64_t eos, reader.Integer("eos_id"));
  if (eos >= folder->vocab_size)
    return BadInput("\"eos_id\" is {}, which is not in the vocabulary of {}", eos, folder->vocab_size);
  folder->eos_id = static_cast<int32_t>(eos);
  FT_ASSIGN_OR_RETURN(folder->empty, reader.Integer("empty_documents"));
  FT_ASSIGN_OR_RETURN(folder->skipped, reader.Integer("skipped_documents"));
  const auto digest = index.find("tokenizer_digest");
  uint64_t value = 0;
  if (digest == index.end() || !digest->is_string() || digest->get<std::string>().size() != 16 ||
      digest->get<std::string>().find_first_not_of("0123456789abcdef") != std::string::npos)
    return BadInput("\"tokenizer_digest\" is missing or not 16 hexadecimal digits");
  for (const char c : digest->get<std::string>())
    value = value << 4 | static_cast<uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  folder->tokenizer_digest = value;
  const auto fraction = index.find("held_out_fraction");
  if (fraction == index.end() || !fraction->is_number())
    return BadInput("\"held_out_fraction\" is missing or no number");
  folder->held_out_fraction = fraction->get<double>();
  folder->has_tokenizer = index.contains("tokenizer") && index["tokenizer"] == kShardTokenizer;
  FT_ASSIGN_OR_RETURN(const json* train, reader.Object("train"));
  FT_ASSIGN_OR_RETURN(const json* held_out, reader.Object("held_out"));
  FT_RETURN_IF_ERROR(OpenPart(path, *train, "train", full, folder, &folder->train));
  return OpenPart(path, *held_out, "held_out", full, folder, &folder->held_out);
}

}  // namespace

uint64_t TokenizerDigest(const tokenizer::Tokenizer& tokenizer) {
  uint64_t hash = base::kHashStart;
  const auto add_number = [&hash](int64_t number) { hash = base::Hash(&number, sizeof number, hash); };
  add_number(static_cast<int64_t>(tokenizer.vocab_size()));
  for (int32_t id = 0; id < static_cast<int32_t>(tokenizer.vocab_size()); ++id) {
    const std::string_view text = tokenizer.TokenText(id);
    add_number(static_cast<int64_t>(text.size()));
    hash = base::Hash(text, hash);
    add_number(tokenizer.IsSpecial(id));
  }
  add_number(tokenizer.eos_id().value_or(-1));
  for (const bool special : {false, true})
    if (const auto ids = tokenizer.Encode(kProbe, {.allow_special = special}); ids.ok())
      for (const int32_t id : *ids) add_number(id);
  return hash;
}

bool IsHeldOut(std::string_view text, double fraction) {
  const auto bits = base::Philox(base::Hash(text), 0, kHeldOut);
  return base::UnitDouble(bits[0], bits[1]) < fraction;
}

void ShardSet::Add(std::unique_ptr<ShardFile> file) {
  first_.push_back(first_.back() + file->documents());
  tokens_ += file->tokens();
  targets_ += static_cast<int64_t>(file->header().targets);
  text_bytes_ += static_cast<int64_t>(file->header().text_bytes);
  files_.push_back(std::move(file));
}

const ShardFile& ShardSet::FileOf(int64_t* document) const {
  FT_CHECK(*document >= 0 && *document < documents());
  const size_t file = std::upper_bound(first_.begin(), first_.end(), *document) - first_.begin() - 1;
  *document -= first_[file];
  return *files_[file];
}

int64_t ShardSet::Length(int64_t document) const { return FileOf(&document).Length(document); }
int64_t ShardSet::TextBytes(int64_t document) const { return FileOf(&document).TextBytes(document); }

base::Status ShardSet::Read(int64_t document, int64_t offset, int64_t count, int32_t* ids,
                            uint8_t* targets) const {
  const ShardFile& file = FileOf(&document);
  return file.Read(document, offset, count, ids, targets);
}

base::Result<ShardFolder> ShardFolder::Open(const std::string& path, bool full) {
  const std::string index = path + "/" + kShardIndex;
  FT_ASSIGN_OR_RETURN(const std::string text, checkpoint::ReadSmallFile(index, 64 << 20));
  ShardFolder folder;
  const base::Status status = ReadIndex(path, text, full, &folder);
  if (!status.ok()) return status.WithContext(Quote(index));
  return folder;
}

}  // namespace fusiontree::data
