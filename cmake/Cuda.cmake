# Device code for GPUs, compiled without one and without the CUDA toolkit: by NVRTC of CUDA 12 from
# the package nvidia-cuda-nvrtc-cu12, or else by nvcc. cmake/cubins.py drives either.
#
# CUDA 12.8 and 12.9 know all of these, and what they compile runs on drivers from 525 on; that of
# CUDA 13 needs 580. 90a: Hopper's own matrix instructions exist under that name only. PTX serves
# devices that no cubin fits; sm_86 and sm_89 run sm_80's, and a build takes 15 s per architecture.
set(CONV_TRANSPOSE_ND_CUDA_ARCHS sm_75 sm_80 sm_90a sm_100 sm_120 compute_80
  CACHE STRING "Architectures to compile device code for")

set(CONV_TRANSPOSE_ND_HAS_CUDA OFF)
set(CONV_TRANSPOSE_ND_CUDA_INFO "")
set(CUBINS ${PROJECT_SOURCE_DIR}/cmake/cubins.py)

if(NOT CONV_TRANSPOSE_ND_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "CONV_TRANSPOSE_ND_CUDA must be AUTO, ON or OFF, "
    "got ${CONV_TRANSPOSE_ND_CUDA}")
elseif(CONV_TRANSPOSE_ND_CUDA STREQUAL "OFF")
  message(STATUS "GPU kernels: off")
elseif(CONV_TRANSPOSE_ND_CORE)
  # A shell has GPU kernels where its core holds the device code.
  file(STRINGS ${CONV_TRANSPOSE_ND_CORE} found LIMIT_COUNT 1 REGEX "conv_transpose_nd device code: ")
  if(found)
    set(CONV_TRANSPOSE_ND_HAS_CUDA ON)
    string(REGEX REPLACE ".*conv_transpose_nd device code: " "" CONV_TRANSPOSE_ND_CUDA_INFO "${found}")
  elseif(CONV_TRANSPOSE_ND_CUDA STREQUAL "ON")
    message(FATAL_ERROR "${CONV_TRANSPOSE_ND_CORE} was built without device code")
  endif()
else()
  find_package(Python 3.10 COMPONENTS Interpreter QUIET)
  set(compiler)
  if(Python_Interpreter_FOUND)
    execute_process(COMMAND ${Python_EXECUTABLE} ${CUBINS} find
      OUTPUT_VARIABLE compiler OUTPUT_STRIP_TRAILING_WHITESPACE)
  endif()
  set(CONV_TRANSPOSE_ND_CUDA_COMPILER "${compiler}")
  if(compiler)
    set(CONV_TRANSPOSE_ND_HAS_CUDA ON)
    execute_process(COMMAND ${Python_EXECUTABLE} ${CUBINS} describe --compiler "${compiler}"
      ${CONV_TRANSPOSE_ND_CUDA_ARCHS}
      OUTPUT_VARIABLE lines OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCH "^([^\n]*)\n([^\n]*)\n([^\n]*)$" lines "${lines}")
    set(CONV_TRANSPOSE_ND_CUDA_KNOWN ${CMAKE_MATCH_1})
    set(name ${CMAKE_MATCH_2})
    set(driver ${CMAKE_MATCH_3})
    string(JOIN " " archs ${CONV_TRANSPOSE_ND_CUDA_KNOWN})
    set(CONV_TRANSPOSE_ND_CUDA_INFO "${archs} (${name}, driver ${driver} or later)")
  elseif(CONV_TRANSPOSE_ND_CUDA STREQUAL "ON")
    message(FATAL_ERROR "CONV_TRANSPOSE_ND_CUDA=ON needs a compiler of CUDA 12 or 13: "
      "pip install nvidia-cuda-nvrtc-cu12, or nvcc on the PATH")
  else()
    message(STATUS "GPU kernels: off, for no compiler of CUDA was found "
      "(pip install nvidia-cuda-nvrtc-cu12)")
  endif()
endif()
if(CONV_TRANSPOSE_ND_HAS_CUDA)
  message(STATUS "GPU kernels: ${CONV_TRANSPOSE_ND_CUDA_INFO}")
endif()

# conv_transpose_nd_device_code(<variable> <source>...): one image per source and architecture,
# compiled anew when the source, one of the headers that it includes, or cubins.py changes. Appends
# to the variable the C++ file that embeds them.
function(conv_transpose_nd_device_code variable)
  if(NOT CONV_TRANSPOSE_ND_CUDA_COMPILER)
    return()
  endif()
  set(folder ${PROJECT_BINARY_DIR}/cubins)
  file(MAKE_DIRECTORY ${folder})
  set(images)
  foreach(source IN LISTS ARGN)
    get_filename_component(stem ${source} NAME_WE)
    foreach(arch IN LISTS CONV_TRANSPOSE_ND_CUDA_KNOWN)
      set(kind cubin)
      if(arch MATCHES "^compute_")
        set(kind ptx)
      endif()
      set(image ${folder}/${stem}.${arch}.${kind})
      add_custom_command(OUTPUT ${image}
        COMMAND ${Python_EXECUTABLE} ${CUBINS} compile --compiler "${CONV_TRANSPOSE_ND_CUDA_COMPILER}"
          --arch ${arch} --include ${PROJECT_SOURCE_DIR} --depfile ${image}.d
          ${PROJECT_SOURCE_DIR}/${source} ${image}
        DEPENDS ${PROJECT_SOURCE_DIR}/${source} ${CUBINS}
        DEPFILE ${image}.d
        COMMENT "Compiling ${source} for ${arch}" VERBATIM)
      list(APPEND images ${image})
    endforeach()
  endforeach()
  set(table ${folder}/images.cc)
  add_custom_command(OUTPUT ${table}
    COMMAND ${Python_EXECUTABLE} ${CUBINS} table --info "${CONV_TRANSPOSE_ND_CUDA_INFO}" ${table} ${images}
    DEPENDS ${images} ${CUBINS}
    COMMENT "Embedding device code" VERBATIM)
  add_custom_target(conv_transpose_nd_cubins DEPENDS ${images} ${table})
  # The images are read by .incbin, which no compiler reports as a dependency.
  set_source_files_properties(${table} PROPERTIES OBJECT_DEPENDS "${images}")
  list(APPEND ${variable} ${table})
  set(${variable} ${${variable}} PARENT_SCOPE)
  list(FILTER images INCLUDE REGEX "cubin$")
  set(CONV_TRANSPOSE_ND_CUBINS ${images} PARENT_SCOPE)
endfunction()

# The commands of a target that links to others wait for those to be built; not where a target that
# links to none runs them, too. Compiling device code takes as long as compiling the core.
function(conv_transpose_nd_needs_cubins target)
  if(TARGET conv_transpose_nd_cubins)
    add_dependencies(${target} conv_transpose_nd_cubins)
  endif()
endfunction()
