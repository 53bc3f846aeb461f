# TensorFlow::framework from the installed wheel, TensorFlow_VERSION, and TensorFlow::xla where the
# wheel has the headers and the library of XLA's kernels.
#
# The package is located without importing it (an import takes 6 s). Its include folder is a system
# folder: its headers raise warnings of their own.
execute_process(
  COMMAND ${Python_EXECUTABLE} -c "import importlib.util as u; s = u.find_spec('tensorflow'); \
print(s.submodule_search_locations[0] if s else '')"
  OUTPUT_VARIABLE TensorFlow_ROOT_DIR OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT TensorFlow_ROOT_DIR)
  message(FATAL_ERROR "TensorFlow is not installed for ${Python_EXECUTABLE}. Install it "
    "(pip install tensorflow), or build without the op: -DCONV_TRANSPOSE_ND_BUILD_OP=OFF")
endif()

execute_process(
  COMMAND ${Python_EXECUTABLE} -c "
import importlib.metadata as m
for name in ('tensorflow', 'tensorflow-cpu', 'tensorflow-gpu', 'tf-nightly'):
    try:
        print(m.version(name)); break
    except m.PackageNotFoundError:
        pass"
  OUTPUT_VARIABLE TensorFlow_VERSION OUTPUT_STRIP_TRAILING_WHITESPACE)

find_library(TensorFlow_FRAMEWORK_LIBRARY NAMES libtensorflow_framework.so.2
  PATHS ${TensorFlow_ROOT_DIR} NO_DEFAULT_PATH)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorFlow
  REQUIRED_VARS TensorFlow_FRAMEWORK_LIBRARY TensorFlow_ROOT_DIR VERSION_VAR TensorFlow_VERSION)

if(NOT TARGET TensorFlow::framework)
  add_library(TensorFlow::framework SHARED IMPORTED)
  set_target_properties(TensorFlow::framework PROPERTIES
    IMPORTED_LOCATION ${TensorFlow_FRAMEWORK_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${TensorFlow_ROOT_DIR}/include
    # The wheels are built with the C++11 string ABI and without Eigen's own thread pool limits.
    INTERFACE_COMPILE_DEFINITIONS "_GLIBCXX_USE_CXX11_ABI=1;EIGEN_MAX_ALIGN_BYTES=64")
endif()

find_library(TensorFlow_CC_LIBRARY NAMES libtensorflow_cc.so.2
  PATHS ${TensorFlow_ROOT_DIR} NO_DEFAULT_PATH)
if(TensorFlow_CC_LIBRARY AND NOT TARGET TensorFlow::xla
    AND EXISTS ${TensorFlow_ROOT_DIR}/include/tensorflow/compiler/tf2xla/xla_op_kernel.h
    AND EXISTS ${TensorFlow_ROOT_DIR}/include/xla/ffi/api/ffi.h
    AND EXISTS ${TensorFlow_ROOT_DIR}/include/xla/hlo/builder/xla_builder.h)
  add_library(TensorFlow::xla SHARED IMPORTED)
  set_target_properties(TensorFlow::xla PROPERTIES
    IMPORTED_LOCATION ${TensorFlow_CC_LIBRARY}
    INTERFACE_LINK_LIBRARIES TensorFlow::framework)
  # Headers that those of XLA include by a path of their own.
  target_include_directories(TensorFlow::xla INTERFACE
    ${TensorFlow_ROOT_DIR}/include/external/highwayhash
    ${TensorFlow_ROOT_DIR}/include/external/farmhash_archive/src)
endif()
