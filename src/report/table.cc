#include "report/table.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/check.h"

namespace fusiontree::report {
namespace {

// "1,234", "-0.5", "98.4 MB", "12%", "-": digits and their marks, then perhaps a unit.
bool LooksNumeric(const std::string& cell) {
  if (cell.empty() || cell == "-") return true;
  const size_t unit = cell.find_first_not_of("0123456789.,-+%");
  if (unit == 0) return false;
  if (unit == std::string::npos) return true;
  const bool letters =
      std::all_of(cell.begin() + static_cast<std::ptrdiff_t>(unit) + 1, cell.end(),
                  [](char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '/'; });
  return cell[unit] == ' ' && letters;
}

void AppendCell(const std::string& cell, size_t width, bool right, bool last, std::string* line) {
  const std::string pad(width - DisplayWidth(cell), ' ');
  if (right) *line += pad;
  *line += cell;
  if (!right && !last) *line += pad;
}

}  // namespace

size_t DisplayWidth(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

void Table::Row(std::vector<std::string> cells) {
  FT_CHECK(cells.size() <= header_.size());
  cells.resize(header_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::Text() const {
  const size_t columns = header_.size();
  std::vector<size_t> width(columns);
  std::vector<bool> right(columns, !rows_.empty());
  for (size_t c = 0; c < columns; ++c) {
    width[c] = DisplayWidth(header_[c]);
    for (const auto& row : rows_) {
      width[c] = std::max(width[c], DisplayWidth(row[c]));
      if (!LooksNumeric(row[c])) right[c] = false;
    }
  }
  std::string text;
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string out;
    for (size_t c = 0; c < columns; ++c) {
      if (c > 0) out += "  ";
      AppendCell(cells[c], width[c], right[c], c + 1 == columns, &out);
    }
    while (!out.empty() && out.back() == ' ') out.pop_back();
    text += out + '\n';
  };
  line(header_);
  for (const auto& row : rows_) line(row);
  return text;
}

std::string Bar(double value, double full, int width) {
  const double share = full > 0 ? std::clamp(value / full, 0.0, 1.0) : 0.0;
  const int filled = static_cast<int>(share * width + 0.5);
  return std::string(static_cast<size_t>(filled), '#') +
         std::string(static_cast<size_t>(width - filled), '.');
}

}  // namespace fusiontree::report
