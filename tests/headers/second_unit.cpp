// The other translation unit; see first_unit.cpp.

#include "everything.hpp"

using AppendShape = void (*)(std::string&, const smolvlm::Shape&);
AppendShape address_in_second_unit();
AppendShape address_in_second_unit() { return &smolvlm::append_piece; }
