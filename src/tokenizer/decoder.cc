#include "tokenizer/decoder.h"

#include <algorithm>

#include "base/utf8.h"
#include "tokenizer/byte_level.h"

namespace fusiontree::tokenizer {
namespace {

// The bytes of a token in GPT-2's alphabet; a token with any other character stands for itself.
void AppendBytes(std::string_view token, std::string* out) {
  const size_t before = out->size();
  for (size_t offset = 0; offset < token.size();) {
    const int byte = CharacterToByte(base::NextUtf8(token, &offset));
    if (byte < 0) {
      out->resize(before);
      out->append(token);
      return;
    }
    out->push_back(static_cast<char>(byte));
  }
}

// The byte of "<0xHH>", -1 for other tokens. "<0x+F>" is one too: Rust reads it so, and Hugging Face uses
// Rust's.
int FallbackByte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  const int high = token[3] == '+' ? 0 : digit(token[3]);
  const int low = digit(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

std::string Strip(std::string_view token, std::string_view character, size_t start, size_t stop) {
  for (size_t i = 0; i < start && token.starts_with(character); ++i) token.remove_prefix(character.size());
  for (size_t i = 0; i < stop && token.ends_with(character); ++i) token.remove_suffix(character.size());
  return std::string(token);
}

std::string ReplaceAll(std::string_view token, std::string_view from, std::string_view to) {
  std::string out;
  size_t done = 0;
  for (size_t at; (at = token.find(from, done)) != std::string_view::npos; done = at + from.size())
    out.append(token.substr(done, at - done)).append(to);
  return out.append(token.substr(done));
}

base::Result<std::string> ReplacePattern(const Pattern& pattern, std::string_view content,
                                         std::string_view token) {
  std::string out;
  FT_RETURN_IF_ERROR(pattern.ForEachPart(token, [&](const Pattern::Part& part) {
    out += part.is_match ? content : token.substr(part.begin, part.end - part.begin);
    return base::OkStatus();
  }));
  return out;
}

std::vector<std::string> JoinFallbackBytes(const std::vector<std::string>& tokens) {
  std::vector<std::string> joined;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (base::FindInvalidUtf8(bytes) == std::string::npos) {
      joined.push_back(std::move(bytes));
    } else {
      for (size_t i = 0; i < bytes.size(); ++i) joined.emplace_back(base::kReplacementCharacter);
    }
    bytes.clear();
  };
  for (const std::string& token : tokens) {
    const int byte = FallbackByte(token);
    if (byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
      continue;
    }
    flush();
    joined.push_back(token);
  }
  flush();
  return joined;
}

std::string Join(const std::vector<std::string>& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  return all;
}

}  // namespace

base::Result<std::string> Decoder::Decode(std::vector<std::string> tokens) const {
  if (join_with_spaces_) {
    for (size_t i = 1; i < tokens.size(); ++i) tokens[i].insert(0, " ");
  }
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Kind::kByteLevel: {
        std::string bytes;
        for (const std::string& token : tokens) AppendBytes(token, &bytes);
        tokens = {base::ReplaceInvalidUtf8(bytes)};
        break;
      }
      case Kind::kByteFallback:
        tokens = JoinFallbackBytes(tokens);
        break;
      case Kind::kFuse:
        tokens = {Join(tokens)};
        break;
      case Kind::kReplace:
        for (std::string& token : tokens) {
          FT_ASSIGN_OR_RETURN(token, ReplacePattern(*step.pattern, step.text, token));
        }
        break;
      case Kind::kStrip:
        for (std::string& token : tokens) token = Strip(token, step.text, step.start, step.stop);
        break;
      case Kind::kMetaspace:
        for (size_t i = 0; i < tokens.size(); ++i)
          tokens[i] = ReplaceAll(tokens[i], step.text, i == 0 && step.drops_first ? "" : " ");
        break;
    }
  }
  return Join(tokens);
}

// Behind ByteLevel or Fuse there is one text; of that a stream can only take off the beginning.
bool Decoder::Streams() const {
  bool fused = false;
  for (const Step& step : steps_) {
    if (fused && step.kind != Kind::kFuse && (step.kind != Kind::kStrip || step.stop > 0)) return false;
    fused |= step.kind == Kind::kByteLevel || step.kind == Kind::kFuse;
  }
  return true;
}

Decoder::Stream::Stream(const Decoder* decoder) : decoder_(decoder), states_(decoder->steps_.size()) {}

std::string Decoder::Stream::Push(std::string_view token) {
  if (!decoder_->Streams()) {
    held_.emplace_back(token);
    return "";
  }
  std::string text(token);
  if (decoder_->join_with_spaces_ && !first_) text.insert(0, " ");
  first_ = false;
  std::string out;
  Run(0, std::move(text), false, &out);
  return out;
}

std::string Decoder::Stream::Finish() {
  std::string out;
  if (!decoder_->Streams()) {
    base::Result<std::string> all = decoder_->Decode(std::move(held_));
    if (all.ok()) out = std::move(all).value();
  } else {
    Run(0, "", true, &out);
  }
  *this = Stream(decoder_);
  return out;
}

void Decoder::Stream::RunByteFallback(size_t step, std::string_view text, bool finish, std::string* out) {
  std::string& bytes = states_[step].bytes;
  const int byte = finish ? -1 : FallbackByte(text);
  if (byte >= 0) bytes.push_back(static_cast<char>(byte));
  const size_t wait = byte >= 0 ? base::IncompleteUtf8Tail(bytes) : 0;
  // Of an ill-formed part every byte counts, as in Decode.
  std::string ready;
  const std::string_view done = std::string_view(bytes).substr(0, bytes.size() - wait);
  if (base::FindInvalidUtf8(done) == std::string_view::npos) {
    ready = done;
  } else {
    size_t rest = 0;
    for (size_t bad; rest < done.size(); rest = std::max(bad + 1, rest + 1)) {
      bad = std::min(base::FindInvalidUtf8(done.substr(rest)), done.size() - rest) + rest;
      ready += done.substr(rest, bad - rest);
      if (bad == done.size()) break;
      ready += base::kReplacementCharacter;
    }
  }
  bytes.erase(0, bytes.size() - wait);
  if (!ready.empty()) Run(step + 1, std::move(ready), false, out);
  if (byte < 0) Run(step + 1, std::string(text), finish, out);
}

void Decoder::Stream::Run(size_t step, std::string text, bool finish, std::string* out) {
  for (; step < decoder_->steps_.size(); ++step) {
    const Step& what = decoder_->steps_[step];
    StepState& state = states_[step];
    switch (what.kind) {
      case Kind::kByteFallback:
        RunByteFallback(step, text, finish, out);
        return;
      case Kind::kByteLevel: {
        AppendBytes(text, &tail_);
        const size_t wait = finish ? 0 : base::IncompleteUtf8Tail(tail_);
        text = base::ReplaceInvalidUtf8(std::string_view(tail_).substr(0, tail_.size() - wait));
        tail_.erase(0, tail_.size() - wait);
        break;
      }
      case Kind::kFuse:
        break;
      case Kind::kReplace: {
        base::Result<std::string> replaced = ReplacePattern(*what.pattern, what.text, text);
        if (replaced.ok()) text = std::move(replaced).value();
        break;
      }
      case Kind::kStrip: {
        const bool fused =
            std::any_of(decoder_->steps_.begin(), decoder_->steps_.begin() + step,
                        [](const Step& s) { return s.kind == Kind::kFuse || s.kind == Kind::kByteLevel; });
        if (!fused) {
          text = Strip(text, what.text, what.start, what.stop);
          break;
        }
        size_t offset = 0;
        while (state.stripping && offset < text.size()) {
          state.stripping =
              state.stripped < what.start && std::string_view(text).substr(offset).starts_with(what.text);
          if (!state.stripping) break;
          ++state.stripped;
          offset += what.text.size();
        }
        text.erase(0, offset);
        break;
      }
      case Kind::kMetaspace:
        if (finish) break;
        text = ReplaceAll(text, what.text, !state.started && what.drops_first ? "" : " ");
        state.started = true;
        break;
    }
  }
  *out += text;
}

}  // namespace fusiontree::tokenizer
