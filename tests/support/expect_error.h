// EXPECT_LOWRANK_ERROR(statement, kind, "part of the text"): an Error of that kind whose message holds the part.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lowrank/base/error.h"

#define EXPECT_LOWRANK_ERROR(statement, expected_kind, part)                                                \
  do {                                                                                                      \
    try {                                                                                                   \
      statement;                                                                                            \
      ADD_FAILURE() << "no error from " #statement;                                                         \
    } catch (const ::lowrank::Error& error_) {                                                              \
      EXPECT_EQ(::lowrank::to_string(error_.kind()), ::lowrank::to_string(expected_kind)) << error_.what(); \
      EXPECT_THAT(error_.what(), ::testing::HasSubstr(part));                                               \
    }                                                                                                       \
  } while (false)
