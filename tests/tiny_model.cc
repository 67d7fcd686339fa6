#include "tiny_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

#include "checkpoint/safetensors_writer.h"
#include "report/json.h"

namespace fusiontree {
namespace {

// The visible character that stands for a byte in byte-level vocabularies (GPT-2's table).
std::string ByteCharacter(int byte) {
  const auto plain = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  int code = byte;
  if (!plain(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b) code += !plain(b);
  }
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

std::string TokenizerJson() {
  report::Json json;
  json.BeginObject().Key("version").Text("1.0").Key("truncation").Null().Key("padding").Null();
  json.Key("added_tokens").BeginArray();
  const char* const special[] = {"<|end|>", "<|user|>", "<|assistant|>", "<|system|>"};
  for (int i = 0; i < 4; ++i) {
    json.BeginObject().Key("id").Integer(256 + i).Key("content").Text(special[i]);
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) json.Key(flag).Bool(false);
    json.Key("special").Bool(true).EndObject();
  }
  json.EndArray().Key("normalizer").Null();
  json.Key("pre_tokenizer")
      .Raw(R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})");
  json.Key("post_processor").Null();
  json.Key("decoder").Raw(
      R"({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true})");
  json.Key("model").BeginObject().Key("type").Text("BPE");
  for (const char* none : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"})
    json.Key(none).Null();
  json.Key("fuse_unk").Bool(false).Key("byte_fallback").Bool(false).Key("ignore_merges").Bool(false);
  json.Key("vocab").BeginObject();
  for (int byte = 0; byte < 256; ++byte) json.Key(ByteCharacter(byte)).Integer(byte);
  json.EndObject().Key("merges").BeginArray().EndArray().EndObject().EndObject();
  return json.text();
}

constexpr const char* kTemplate =
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% "
    "endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

std::string ConfigJson(const ModelShape& shape) {
  report::Json json;
  json.BeginObject().Key("model_type").Text("llama");
  json.Key("architectures").BeginArray().Text("LlamaForCausalLM").EndArray();
  json.Key("vocab_size").Integer(shape.vocabulary).Key("hidden_size").Integer(shape.hidden);
  json.Key("intermediate_size").Integer(shape.mlp).Key("num_hidden_layers").Integer(shape.layers);
  json.Key("num_attention_heads").Integer(shape.heads).Key("num_key_value_heads").Integer(shape.kv_heads);
  json.Key("max_position_embeddings").Integer(kTinyContext).Key("rms_norm_eps").Raw("1e-5");
  json.Key("rope_theta").Raw("10000.0").Key("tie_word_embeddings").Bool(true);
  return json.Key("eos_token_id").Integer(256).Key("torch_dtype").Text("float32").EndObject().text();
}

}  // namespace

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  ASSERT_TRUE(file.good()) << path;
}

void WriteTinyModel(const std::string& folder, bool with_tokenizer, bool with_template,
                    const ModelShape& shape) {
  std::filesystem::create_directories(folder);
  WriteText(folder + "/config.json", ConfigJson(shape));
  WriteText(folder + "/generation_config.json", R"({"do_sample": false, "eos_token_id": [256]})");
  if (with_tokenizer) WriteText(folder + "/tokenizer.json", TokenizerJson());
  if (with_tokenizer) {
    report::Json json;
    json.BeginObject().Key("eos_token").Text("<|end|>");
    if (with_template) json.Key("chat_template").Text(kTemplate);
    WriteText(folder + "/tokenizer_config.json", json.EndObject().text());
  }
  const int64_t hidden = shape.hidden, mlp = shape.mlp, kv = hidden / shape.heads * shape.kv_heads;
  std::vector<checkpoint::TensorSpec> specs = {
      {"model.embed_tokens.weight", tensor::DType::kF32, {shape.vocabulary, hidden}},
      {"model.norm.weight", tensor::DType::kF32, {hidden}}};
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const auto matrix = [&](const char* name, int64_t rows, int64_t columns) {
      specs.push_back({prefix + name + ".weight", tensor::DType::kF32, {rows, columns}});
    };
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
      specs.push_back({prefix + norm + ".weight", tensor::DType::kF32, {hidden}});
    matrix("self_attn.q_proj", hidden, hidden);
    matrix("self_attn.k_proj", kv, hidden);
    matrix("self_attn.v_proj", kv, hidden);
    matrix("self_attn.o_proj", hidden, hidden);
    matrix("mlp.gate_proj", mlp, hidden);
    matrix("mlp.up_proj", mlp, hidden);
    matrix("mlp.down_proj", hidden, mlp);
  }
  auto writer = checkpoint::SafetensorsWriter::Create(folder + "/model.safetensors", specs);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  std::mt19937 random(5);
  std::vector<float> values;
  for (const checkpoint::TensorSpec& spec : specs) {
    int64_t elements = 1;
    for (const int64_t size : spec.shape) elements *= size;
    int64_t left = elements;
    while (left > 0) {
      // The numbers of a large tensor repeat: drawing them all would take longer than the test.
      const size_t n = static_cast<size_t>(std::min<int64_t>(left, int64_t{1} << 20));
      if (left == elements) {
        values.resize(n);
        for (float& value : values) {
          const float uniform = static_cast<float>(random() % 2001) / 1000.0f - 1.0f;  // -1 ... 1
          value = spec.shape.size() == 1 ? 1.0f + 0.2f * uniform : 0.3f * uniform;
        }
      }
      ASSERT_TRUE(writer->Append(spec.name, values.data(), n * sizeof(float)).ok());
      left -= static_cast<int64_t>(n);
    }
  }
  ASSERT_TRUE(writer->Finish().ok());
}

}  // namespace fusiontree
