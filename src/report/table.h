// Plain text tables and bars for terminals and logs.
#ifndef FUSIONTREE_REPORT_TABLE_H_
#define FUSIONTREE_REPORT_TABLE_H_

#include <string>
#include <vector>

namespace fusiontree::report {

// Columns as wide as their widest cell, two spaces apart; a column whose cells below the header are all
// numbers (with an optional unit) is set to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  // As many cells as the header has; missing ones are empty.
  void Row(std::vector<std::string> cells);
  std::string Text() const;  // one line a row, each ending in a newline

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

// Columns that a UTF-8 text takes on a terminal, counting one a character.
size_t DisplayWidth(const std::string& text);

// "############........" of `width` characters: the share of `value` in `full`, both >= 0.
std::string Bar(double value, double full, int width);

}  // namespace fusiontree::report

#endif  // FUSIONTREE_REPORT_TABLE_H_
